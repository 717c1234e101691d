"""Re-ranking against the formula over dense matrices, row by row in float64."""

import doctest
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from models import comparisons, reciprocal, reranking
from models.distances import METRICS, l2_normalize, pairwise
from models.errors import NonFiniteError, OptionError, ShapeError
from models.reranking import rerank, rerank_top
from tests.models.inputs import DISTRIBUTIONS, metric_named, rows, rows_for
from tests.models.memory import peak_bytes
from tests.models.reranking_oracle import dense_rerank

SYMMETRIC = [name for name in METRICS if name not in DISTRIBUTIONS]
SQUARES = ("squared_euclidean", "cosine")


def clusters(n: int, seed: int, d: int = 8) -> Tensor:
    """Return (n, d) float32 rows in clusters of about ten that overlap."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(n // 10 + 1, d, generator=generator)
    kinds = torch.randint(len(centres), (n,), generator=generator)
    return centres[kinds] + 0.5 * torch.randn(n, d, generator=generator)


def grid(n: int, seed: int) -> Tensor:
    """Return (n, 2) rows on few points: many are equal, and most distances are shared by many pairs."""
    return torch.randint(4, (n, 2), generator=torch.Generator().manual_seed(seed)).float()


def squares(x: Tensor, metric: str = "euclidean") -> np.typing.NDArray[np.float64]:
    distances = pairwise(x, x, metric_named(metric)).double().numpy()
    return distances if metric in SQUARES else distances**2


def assert_as_dense(x: Tensor, queries: int, k1: int = 20, k2: int = 6, weight: float = 0.3) -> None:
    expected = dense_rerank(squares(x), queries, k1=k1, k2=k2, weight=weight)
    found = rerank(x[:queries], x[queries:], k1=k1, k2=k2, weight=weight)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-7)
    ranks = found.numpy().argsort(1, kind="stable")
    np.testing.assert_array_equal(ranks, expected.astype(np.float32).argsort(1, kind="stable"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [clusters, grid])
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (1, 1), (2, 2), (5, 1), (7, 12), (6, 30)])
def test_it_agrees_with_the_dense_formula(
    seed: int, make: Callable[[int, int], Tensor], k1: int, k2: int
) -> None:
    assert_as_dense(make(90, seed), 25, k1, k2)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_the_weight_is_that_of_the_distance(weight: float) -> None:
    assert_as_dense(clusters(80, 5), 20, weight=weight)


def test_a_weight_of_1_leaves_the_ranks_as_they_were() -> None:
    x = clusters(80, 5)
    found = rerank(x[:20], x[20:], weight=1.0)
    np.testing.assert_array_equal(found.argsort(1), pairwise(x[:20], x[20:]).argsort(1))


@pytest.mark.parametrize("queries", [1, 2, 39])
def test_any_share_may_be_queries(queries: int) -> None:
    assert_as_dense(clusters(40, 1), queries)


@pytest.mark.parametrize(("k1", "k2"), [(11, 3), (12, 3), (500, 6), (3, 500), (500, 500)])
def test_more_neighbours_than_rows_are_all_rows(k1: int, k2: int) -> None:
    assert_as_dense(clusters(12, 2), 4, k1, k2)


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (1, 1), (1, 2)])
def test_two_rows_are_enough(k1: int, k2: int) -> None:
    assert_as_dense(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), 1, k1, k2)


def test_two_rows_by_hand() -> None:
    query, gallery = torch.tensor([[0.0]]), torch.tensor([[5.0]])
    # Each has the other: V is (1, 1/e) and (1/e, 1) over their sum, and m twice the smaller.
    m = 2 / (1 + math.e)
    assert rerank(query, gallery, k2=1).item() == pytest.approx(0.7 * (1 - m / (2 - m)) + 0.3)
    # Averaged over both, V is the same for both.
    assert rerank(query, gallery, k2=2).item() == pytest.approx(0.3)


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (3, 2), (3, 1), (100, 6)])
def test_rows_that_are_all_equal_keep_their_order(k1: int, k2: int) -> None:
    assert_as_dense(torch.full((50, 3), 0.7), 10, k1, k2)


def test_a_copy_in_the_gallery_comes_first() -> None:
    x = clusters(60, 3)
    found = rerank(x[:10], torch.cat([x[10:], x[:10]]))
    assert found.argmin(1).tolist() == [*range(50, 60)]


@pytest.mark.parametrize("metric", SYMMETRIC)
def test_every_symmetric_metric_is_taken(metric: str) -> None:
    x = rows_for(metric, 60, seed=4)
    expected = dense_rerank(squares(x, metric), 15)
    found = rerank(x[:15], x[15:], metric=metric_named(metric))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_cosine_is_the_euclidean_distance_of_unit_rows() -> None:
    x = rows(70, seed=6)
    unit = l2_normalize(x)
    found = rerank(x[:20], x[20:], metric="cosine")
    np.testing.assert_allclose(found, rerank(unit[:20], unit[20:]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", ["kl_divergence", "cross_entropy"])
def test_a_metric_that_is_not_symmetric_is_refused(metric: str) -> None:
    x = rows_for(metric, 6)
    with pytest.raises(OptionError, match="not symmetric"):
        rerank(x[:2], x[2:], metric=metric)


@pytest.mark.parametrize("kept", [0, 30, 70])
@pytest.mark.parametrize("elements", [1, 100, 700])
def test_strips_change_nothing(elements: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", elements)
    monkeypatch.setattr(comparisons, "_GATHERED_ELEMENTS", elements)
    monkeypatch.setattr(reciprocal, "_KEPT_ELEMENTS", 70 * kept)
    assert_as_dense(clusters(70, 8), 15, 6, 3)
    assert_as_dense(grid(70, 8), 15, 6, 3)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_distances_whose_squares_do_not_fit_are_ranked_alike(scale: float) -> None:
    x = clusters(50, 9)
    scaled = rerank(x[:10] * scale, x[10:] * scale)
    np.testing.assert_allclose(scaled, rerank(x[:10], x[10:]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [clusters, grid])
@pytest.mark.parametrize("keep", [1, 7, 55, 200])
def test_the_first_of_each_query_are_those_of_the_whole(
    make: Callable[[int, int], Tensor], keep: int
) -> None:
    x = make(80, 10)
    whole = rerank(x[:25], x[25:])
    ordered, order = whole.sort(dim=1, stable=True)
    indices, distances = rerank_top(x[:25], x[25:], keep)
    assert torch.equal(indices, order[:, :keep])
    assert torch.equal(distances, ordered[:, :keep])


def test_nothing_to_rank_is_an_empty_answer() -> None:
    x = rows(5)
    assert rerank(x[:0], x).shape == (0, 5)
    assert rerank(x, x[:0]).shape == (5, 0)
    assert rerank_top(x, x[:0], 3).indices.shape == (5, 0)


def test_embeddings_with_gradients_are_ranked_without() -> None:
    x = rows(30).requires_grad_()
    assert not rerank(x[:5], x[5:]).requires_grad


def test_memory_does_not_grow_with_the_square_of_the_set(
    one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", 2**13)
    monkeypatch.setattr(comparisons, "_GATHERED_ELEMENTS", 2**13)
    monkeypatch.setattr(reciprocal, "_KEPT_ELEMENTS", 2**14)
    small, large = clusters(300, 12), clusters(1200, 12)
    peaks = [peak_bytes(partial(rerank_top, x[:10], x[10:], 5, k1=5)) for x in (small, large)]
    assert peaks[1] < 4 * peaks[0]
    assert peaks[1] < len(large) ** 2  # bytes: a quarter of one matrix


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"k1": 0}, "k1"),
        ({"k1": 2.5}, "k1"),
        ({"k2": 0}, "k2"),
        ({"k2": -1}, "k2"),
        ({"weight": -0.1}, "weight"),
        ({"weight": 1.1}, "weight"),
        ({"weight": float("nan")}, "weight"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], argument: str) -> None:
    x = rows(6)
    with pytest.raises(OptionError, match=argument) as caught:
        rerank(x[:2], x[2:], **options)  # type: ignore[arg-type]
    assert caught.value.argument == argument


def test_keeping_none_is_refused() -> None:
    with pytest.raises(OptionError, match="keep"):
        rerank_top(rows(2), rows(3), 0)


def test_embeddings_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ShapeError, match="gallery has 5 columns where queries has 4"):
        rerank(rows(2), rows(3, d=5))
    with pytest.raises(NonFiniteError, match="Row 1 of gallery"):
        rerank(rows(2), torch.tensor([[1.0] * 4, [torch.nan] * 4]))


def test_the_examples_hold() -> None:
    assert doctest.testmod(reranking) == doctest.TestResults(failed=0, attempted=2)
