"""Retrieval against a plain loop over queries in stable order, and scikit-learn's average precision."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from models.distances import pairwise
from models.errors import InputError, NonFiniteError, ShapeError
from models.metrics import Labels, Rankings, metric_learning, retrieval, retrieval_of
from tests.models.memory import peak_bytes
from tests.models.metrics.retrieval_loop import Found, loop

RANKS = (1, 3, 10)

# Equal zeros of two signs, the least number above, two neighbours, and what hardly fits.
HARD_TO_TELL_APART = [0.0, -0.0, 5e-324, 1.0, float(np.nextafter(1.0, 2.0)), 1e308]


def ints(values: Sequence[int]) -> Labels:
    return np.array(values, dtype=np.int64)


def check(distances: npt.NDArray[np.floating], *labels: tuple[Labels, Labels] | None) -> None:
    """Compare `retrieval` with the loop; a set in which nothing can be found is refused."""
    identities, cameras = labels[0], labels[1] if len(labels) > 1 else None
    assert identities is not None
    expected = loop(distances, identities, cameras)
    if not expected.ranks:
        with pytest.raises(InputError, match="No query"):
            retrieval(distances, identities, cameras)
        return
    result = retrieval(distances, identities, cameras, ranks=RANKS)
    first = [ranks[0] for ranks in expected.ranks]
    assert result.queries + result.skipped == len(distances)
    assert result.queries == len(first)
    assert result.positives == sum(map(len, expected.ranks))
    assert result.rank == {k: np.mean([rank <= k for rank in first]) for k in RANKS}
    assert result.mean_average_precision == pytest.approx(np.mean(expected.hits), abs=1e-12)
    assert result.mean_average_precision_trapezoid == pytest.approx(np.mean(expected.trapezoid), abs=1e-12)
    assert result.mean_inverse_negative_penalty == pytest.approx(
        np.mean([len(ranks) / ranks[-1] for ranks in expected.ranks]), abs=1e-12
    )
    assert result.identities == len({int(identities[0][q]) for q in expected.queries})
    assert result.gallery == distances.shape[1]
    check_rankings(result.rankings, expected)


def check_rankings(found: Rankings, expected: Found) -> None:
    """Compare what is said of each query with the loop."""
    assert found.query.tolist() == expected.queries
    assert found.positives.tolist() == [len(ranks) for ranks in expected.ranks]
    assert found.first.tolist() == [ranks[0] for ranks in expected.ranks]
    assert found.last.tolist() == [ranks[-1] for ranks in expected.ranks]
    assert found.hits == pytest.approx(np.array(expected.hits), abs=1e-12)
    assert found.trapezoid == pytest.approx(np.array(expected.trapezoid), abs=1e-12)
    among_r = [[place for place in ranks if place <= len(ranks)] for ranks in expected.ranks]
    shares = [len(places) / len(ranks) for places, ranks in zip(among_r, expected.ranks, strict=True)]
    averages = [
        sum(n / place for n, place in enumerate(places, start=1)) / len(ranks)
        for places, ranks in zip(among_r, expected.ranks, strict=True)
    ]
    assert found.share_at_r == pytest.approx(np.array(shares), abs=1e-12)
    assert found.average_at_r == pytest.approx(np.array(averages), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [1, 4, 1_000_000])
def test_it_agrees_with_a_loop(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = (300, 40) if seed == 0 else (20, 50)
    distances = rng.integers(0, levels, (queries, gallery)) / levels  # few levels: many ties
    identities = ints(rng.integers(-1, 9, queries).tolist()), ints(rng.integers(-1, 7, gallery).tolist())
    cameras = ints(rng.integers(0, 3, queries).tolist()), ints(rng.integers(0, 3, gallery).tolist())
    check(distances.astype(np.float32 if seed % 2 else np.float64), identities, cameras)


@st.composite
def small_cases(
    draw: st.DrawFn,
) -> tuple[npt.NDArray[np.float64], tuple[Labels, Labels], tuple[Labels, Labels] | None]:
    queries, gallery = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    cell = st.sampled_from(HARD_TO_TELL_APART)
    row = st.lists(cell, min_size=gallery, max_size=gallery)
    distances = np.array(draw(st.lists(row, min_size=queries, max_size=queries)))

    def labels(low: int, high: int) -> tuple[Labels, Labels]:
        sides = [draw(st.lists(st.integers(low, high), min_size=n, max_size=n)) for n in (queries, gallery)]
        return ints(sides[0]), ints(sides[1])

    return distances, labels(-1, 2), labels(0, 1) if draw(st.booleans()) else None


@settings(deadline=None, derandomize=True)
@given(small_cases())
def test_small_sets_with_ties_and_junk_agree_with_a_loop(
    case: tuple[npt.NDArray[np.float64], tuple[Labels, Labels], tuple[Labels, Labels] | None],
) -> None:
    check(*case)


def test_without_ties_it_is_the_average_precision_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    distances = rng.random((30, 60))
    identities = ints(rng.integers(0, 5, 30).tolist()), ints(rng.integers(0, 5, 60).tolist())
    expected = [
        average_precision_score(identities[1] == identity, -row)
        for identity, row in zip(identities[0], distances, strict=True)
    ]
    assert retrieval(distances, identities).mean_average_precision == pytest.approx(
        np.mean(expected), abs=1e-12
    )


def test_a_ranking_worked_out_by_hand() -> None:
    # Hits at the ranks 1, 3 and 6.
    result = retrieval(
        np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]), (ints([7]), ints([7, 1, 7, 2, 3, 7, 4]))
    )
    assert result.mean_average_precision == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert result.mean_average_precision_trapezoid == pytest.approx(
        ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2 + (2 / 5 + 3 / 6) / 2) / 3
    )
    assert result.mean_inverse_negative_penalty == 0.5
    assert (result.identities, result.positives, result.gallery) == (1, 3, 7)


def test_the_own_camera_is_no_hit_and_takes_no_rank() -> None:
    # By distance: junk (same identity, same camera), a wrong one, the right one.
    result = retrieval(
        np.array([[0.0, 1.0, 2.0]]), (ints([4]), ints([4, 5, 4])), (ints([1]), ints([1, 1, 2])), ranks=(1, 2)
    )
    assert (result.rank, result.mean_average_precision) == ({1: 0.0, 2: 1.0}, 0.5)


def test_identity_minus_one_is_removed_and_identity_zero_distracts() -> None:
    distances = np.array([[0.0, 1.0, 2.0]])
    assert retrieval(distances, (ints([4]), ints([-1, -1, 4]))).rank[1] == 1.0
    assert retrieval(distances, (ints([4]), ints([-1, 0, 4]))).mean_average_precision == 0.5


def test_the_entry_that_a_query_names_is_removed_whatever_its_identity() -> None:
    distances = np.zeros((3, 3))
    identities = ints([4, 4, 4]), ints([5, 4, 4])
    junk = ints([0, 1, -1])
    result = retrieval(distances, identities, ranks=(1,), junk=junk)
    assert [list(ranks) for ranks in loop(distances, identities, junk=junk).ranks] == [[1, 2], [2], [2, 3]]
    assert result.rankings.first.tolist() == [1, 2, 2]
    assert result.rankings.last.tolist() == [2, 2, 3]


def test_queries_without_a_positive_are_skipped_and_counted() -> None:
    result = retrieval(np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), (ints([9, 1, -1]), ints([1, 2])))
    assert (result.queries, result.skipped, result.rank[1]) == (1, 2, 1.0)
    assert result.rankings.query.tolist() == [1]


def test_equal_distances_keep_the_order_of_the_gallery() -> None:
    result = retrieval(np.zeros((1, 40)), (ints([3]), ints([*range(40)])), ranks=(3, 4))
    assert result.rank == {3: 0.0, 4: 1.0}


def test_distances_are_not_modified() -> None:
    distances = np.array([[0.0, 1.0, 2.0]])
    retrieval(distances, (ints([4]), ints([-1, 0, 4])))
    assert distances.tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan", "hamming"])
def test_embeddings_give_what_their_distances_give(metric: str) -> None:
    rng = np.random.default_rng(3)
    # On a grid, and some rows twice: ties. Large enough for matrix products and for several strips.
    gallery = rng.integers(1, 4, (9000, 4)).astype(np.float32)
    queries = np.concatenate([gallery[:250], rng.integers(1, 4, (250, 4)).astype(np.float32)])
    identities = ints(rng.integers(0, 60, 500).tolist()), ints(rng.integers(-1, 60, 9000).tolist())
    cameras = ints(rng.integers(0, 4, 500).tolist()), ints(rng.integers(0, 4, 9000).tolist())
    distances = pairwise(torch.from_numpy(queries), torch.from_numpy(gallery), metric).numpy()
    expected = retrieval(distances, identities, cameras).rankings
    streamed = retrieval_of(queries, gallery, identities, cameras, metric=metric).rankings
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(streamed, name), values)


def test_a_matrix_of_all_distances_is_never_formed() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.standard_normal((6000, 4), dtype=np.float32))
    labels = ints(rng.integers(0, 300, 6000).tolist())
    peak = peak_bytes(lambda: retrieval_of(rows, rows, (labels, labels), junk=np.arange(6000)))
    assert peak < 6000 * 6000 * 4 // 3


@pytest.mark.parametrize("levels", [2, 1000])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "hamming"])
def test_metric_learning_agrees_with_a_loop_that_leaves_the_query_out(levels: int, metric: str) -> None:
    rng = np.random.default_rng(levels)
    embeddings = rng.integers(0, levels, (60, 2)).astype(np.float64)
    labels = ints([*rng.integers(-1, 12, 59).tolist(), 99])
    distances = pairwise(torch.from_numpy(embeddings), metric=metric).numpy()
    found = loop(distances, (labels, labels), junk=np.arange(60))
    ranks = found.ranks

    result = metric_learning(embeddings, labels, metric=metric, ranks=(1, 2, 4))
    assert result.recall == {k: np.mean([places[0] <= k for places in ranks]) for k in (1, 2, 4)}
    map_at_r = [
        sum(n / place for n, place in enumerate(places, start=1) if place <= len(places)) / len(places)
        for places in ranks
    ]
    assert result.map_at_r == pytest.approx(np.mean(map_at_r), abs=1e-12)
    precisions = [np.mean([place <= len(places) for place in places]) for places in ranks]
    assert result.r_precision == pytest.approx(np.mean(precisions), abs=1e-12)
    assert (result.queries, result.skipped) == (len(ranks), 60 - len(ranks))
    assert result.identities == len({*labels[found.queries].tolist()})
    assert result.positives == sum(map(len, ranks))


def test_metric_learning_needs_two_pictures_of_one_label() -> None:
    with pytest.raises(InputError, match="No two pictures"):
        metric_learning(np.eye(3), ints([1, 2, -1]))


@pytest.mark.parametrize(
    ("distances", "queries", "error", "message"),
    [
        (np.zeros((2, 2)), [1, 2, 3], ShapeError, "identities have the shapes"),
        (np.zeros((0, 2)), [], ShapeError, "neither empty"),
        (np.zeros(2), [1, 2], ShapeError, "must be"),
        (np.array([[0.0, 0.0], [0.0, np.nan]]), [1, 2], NonFiniteError, "query 1"),
        (np.zeros((2, 2)), [8, 9], InputError, "No query"),
        (np.zeros((2, 2)), [-1, -1], InputError, "No query"),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    distances: npt.NDArray[np.float64], queries: list[int], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        retrieval(distances, (ints(queries), ints([1, 2])))


def test_cameras_must_fit_too() -> None:
    with pytest.raises(ShapeError, match="cameras have the shapes"):
        retrieval(np.zeros((1, 1)), (ints([1]), ints([1])), (ints([1]), ints([1, 2])))


@pytest.mark.parametrize("junk", [[1], [-2, 0], [0, 2]])
def test_junk_must_name_an_entry_for_each_query(junk: list[int]) -> None:
    with pytest.raises(ShapeError, match="junk must name"):
        retrieval(np.zeros((2, 2)), (ints([1, 1]), ints([1, 1])), junk=ints(junk))


def test_embeddings_without_rows_are_refused() -> None:
    with pytest.raises(ShapeError, match="gallery have no rows"):
        retrieval_of(np.ones((1, 2)), np.ones((0, 2)), (ints([1]), ints([])))
    with pytest.raises(ShapeError, match="queries have no rows"):
        retrieval_of(np.ones((0, 2)), np.ones((1, 2)), (ints([]), ints([1])), junk=ints([]))
    with pytest.raises(ShapeError, match="queries have no rows"):
        metric_learning(np.ones((0, 2)), ints([]))
