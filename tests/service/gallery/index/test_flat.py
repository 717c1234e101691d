"""The index against brute force in float64."""

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from models.errors import DomainError
from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.flat import FlatIndex, StaleLabelsError
from service.gallery.index.hits import Hits

METRICS: list[CollectionMetric] = ["cosine", "euclidean", "inner_product"]


@pytest.fixture(params=["differences", "matrix product"])
def faiss_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let FAISS compute in each of its two ways; which one it takes by itself depends on its release."""
    usual = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 1 if request.param == "matrix product" else 2**30
    yield
    faiss.cvar.distance_compute_blas_threshold = usual


def rows(seed: int, shape: tuple[int, int]) -> Vectors:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def filled(metric: CollectionMetric, vectors: Vectors) -> FlatIndex:
    index = FlatIndex(vectors.shape[1], metric)
    return index.changed(removed=[], labels=np.arange(1, len(vectors) + 1), vectors=vectors)


def true_distances(metric: str, query: Vectors, vectors: Vectors) -> npt.NDArray[np.longdouble]:
    x, y = query.astype(np.longdouble), vectors.astype(np.longdouble)
    if metric == "euclidean":
        distances = np.sqrt(((y - x) ** 2).sum(axis=1))
    elif metric == "inner_product":
        distances = -(y * x).sum(axis=1)
    else:
        distances = 1 - (y * x).sum(axis=1) / np.sqrt((x**2).sum()) / np.sqrt((y**2).sum(axis=1))
    return np.asarray(distances, np.longdouble)


def assert_nearest(hits: Hits, truth: npt.NDArray[np.longdouble], k: int, tolerance: float) -> None:
    """Check the k nearest of labels 1, 2, ... whose true distances are given (inf: not to be found)."""
    count = min(k, int(np.isfinite(truth).sum()))
    found = hits.labels - 1
    assert len(set(found.tolist())) == len(found) == count
    assert np.all(np.abs(hits.distances - truth[found]) <= tolerance)
    assert sorted(zip(hits.distances, hits.labels, strict=True)) == list(zip(*reversed(hits), strict=True))
    others = np.delete(truth, found)
    assert count == 0 or np.all(others >= hits.distances[-1] - tolerance)


def tolerance(metric: str, query: Vectors, vectors: Vectors) -> float:
    """Return what float64 sums, or under cosine unit vectors rounded to float32, may be off by."""
    if metric == "cosine":
        return 4e-7
    longest = np.linalg.norm(vectors.astype(np.float64), axis=1).max()
    length = np.linalg.norm(query.astype(np.float64))
    return 1e-13 * float(length * longest if metric == "inner_product" else length + longest)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-30, 2e-23, 1e-3, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("k", [1, 10, 5000])
@pytest.mark.usefixtures("faiss_way")
def test_nearest_are_those_of_brute_force(metric: CollectionMetric, scale: float, k: int) -> None:
    vectors = rows(1, (3000, 24)) * np.float32(scale)
    asked = rows(2, (8, 24)) * np.float32(scale)
    for query, hits in zip(asked, filled(metric, vectors).search(asked, k), strict=True):
        assert_nearest(hits, true_distances(metric, query, vectors), k, tolerance(metric, query, vectors))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.usefixtures("faiss_way")
@pytest.mark.parametrize("spread", [1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1])
def test_digits_lost_by_faiss_do_not_change_the_order(metric: CollectionMetric, spread: float) -> None:
    """Rows far from the origin and close together: ||q||^2 + ||y||^2 - 2 <q, y> is mostly rounding error."""
    vectors = (rows(3, (3000, 64)) * spread + 100).astype(np.float32)
    asked = (rows(31, (25, 64)) * spread + 100).astype(np.float32)
    for query, hits in zip(asked, filled(metric, vectors).search(asked, 5), strict=True):
        assert_nearest(hits, true_distances(metric, query, vectors), 5, tolerance(metric, query, vectors))


@pytest.mark.usefixtures("faiss_way")
def test_rows_whose_squares_overflow_are_found() -> None:
    """FAISS loses the nearest ones: in float32 their squared norm is infinite, their distance is not."""
    vectors = np.zeros((1000, 2), np.float32)
    vectors[:, 0] = np.linspace(-1.35e19, -1.45e19, 1000)
    vectors[990:, 0] = 1.9e19
    (hits, *_) = filled("euclidean", vectors).search(np.full((25, 2), [3e18, 0], np.float32), 12)
    assert hits.labels.tolist() == [*range(991, 1001), 1, 2]


@pytest.mark.usefixtures("faiss_way")
@pytest.mark.parametrize("metric", METRICS)
def test_a_far_row_spoils_nothing(metric: CollectionMetric) -> None:
    vectors = rows(4, (2000, 16))
    vectors[7] = 3e38
    vectors[8] = -3e38
    asked = rows(5, (8, 16))
    for query, hits in zip(asked, filled(metric, vectors).search(asked, 2000), strict=True):
        truth = true_distances(metric, query, vectors)
        assert len(hits.labels) == 2000
        np.testing.assert_allclose(
            hits.distances, truth[hits.labels - 1].astype(np.float64), rtol=1e-6, atol=4e-7
        )
        assert np.all(np.diff(hits.distances) >= 0)
    for query, hits in zip(asked, filled(metric, vectors).search(asked, 3), strict=True):
        wanted = np.sort(true_distances(metric, query, vectors))[:3].astype(np.float64)
        np.testing.assert_allclose(hits.distances, wanted, rtol=1e-6, atol=4e-7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("queries", [1, 40])
def test_equal_rows_are_zero_apart_and_in_the_order_of_writing(
    metric: CollectionMetric, queries: int
) -> None:
    vectors = rows(6, (3000, 32))
    vectors[100:900:2] = vectors[50]
    hits = filled(metric, vectors).search(np.repeat(vectors[50:51], 4, axis=0), 20)
    for one in hits:
        assert one.distances.tolist() == [0.0] * 20
        assert one.labels.tolist() == [51, *range(101, 139, 2)]


def test_equal_inner_products_are_in_the_order_of_writing() -> None:
    vectors = np.ones((2000, 8), np.float32)
    (hits,) = filled("inner_product", vectors).search(vectors[:1], 7)
    assert hits.labels.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert hits.distances.tolist() == [-8.0] * 7


@pytest.mark.usefixtures("faiss_way")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 1.0])
def test_only_allowed_rows_are_found(metric: CollectionMetric, share: float) -> None:
    vectors, asked = rows(7, (3000, 12)), rows(8, (8, 12))
    chosen = np.random.default_rng(9).random(3000) < share
    allowed = np.random.default_rng(10).permutation(np.flatnonzero(chosen) + 1)
    found = filled(metric, vectors).search(asked, 10, allowed=allowed)
    for query, hits in zip(asked, found, strict=True):
        truth = np.where(chosen, true_distances(metric, query, vectors), np.inf)
        assert_nearest(hits, truth, 10, tolerance(metric, query, vectors))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [3, 3000])
def test_all_within_the_distance_are_found_and_it_is_inclusive(metric: CollectionMetric, k: int) -> None:
    vectors, asked = rows(11, (3000, 6)), rows(12, (6, 6))
    index = filled(metric, vectors)
    for query, everything in zip(asked, index.search(asked, 3000), strict=True):
        for nth in (0, 2, 40, 2000):
            limit = float(everything.distances[nth])
            (hits,) = index.search(query[np.newaxis], k, max_distance=limit)
            assert hits.labels.tolist() == everything.labels[: min(nth + 1, k)].tolist()
            assert hits.distances.tolist() == everything.distances[: min(nth + 1, k)].tolist()
        below = float(np.nextafter(everything.distances[0], -np.inf))
        assert len(index.search(query[np.newaxis], k, max_distance=below)[0].labels) == 0


@pytest.mark.parametrize("metric", METRICS)
def test_changes_one_after_the_other_stay_exact_and_compact(metric: CollectionMetric) -> None:
    random = np.random.default_rng(13)
    index = FlatIndex(5, metric)
    alive: dict[int, Vectors] = {}
    label = 0
    for _ in range(60):
        added = random.standard_normal((random.integers(0, 40), 5)).astype(np.float32)
        removed = [one for one in alive if random.random() < 0.1]
        labels = list(range(label + 1, label + 1 + len(added)))
        index = index.changed(removed=removed, labels=labels, vectors=added)
        label += len(added)
        alive = {k: v for k, v in alive.items() if k not in removed} | dict(zip(labels, added, strict=True))
        assert len(index) == len(alive)
        query = random.standard_normal((1, 5)).astype(np.float32)
        truth = np.full(label, np.inf, np.longdouble)
        if alive:
            keys = np.array(list(alive)) - 1
            truth[keys] = true_distances(metric, query[0], np.stack(list(alive.values())))
        (hits,) = index.search(query, 8)
        assert_nearest(hits, truth, 8, 1e-6)
    assert label > 800
    assert index.memory_bytes < 3 * len(index) * (5 * 4 + 8 + 1)


def test_an_index_does_not_notice_its_successors() -> None:
    vectors = rows(14, (300, 4))
    first = filled("euclidean", vectors)
    before = first.search(vectors[:5], 10)
    discarded = first.changed(removed=[1, 2], labels=[301], vectors=vectors[:1])
    second = first.changed(removed=range(1, 290), labels=[301, 302], vectors=vectors[5:7])
    assert len(discarded) == 299
    for old, new in zip(before, first.search(vectors[:5], 10), strict=True):
        assert old.labels.tolist() == new.labels.tolist()
    assert second.search(vectors[5:7], 1)[1].labels.tolist() == [302]


@pytest.mark.parametrize("metric", METRICS)
def test_empty_index_answers_empty(metric: CollectionMetric) -> None:
    index = FlatIndex(3, metric)
    assert [len(hits.labels) for hits in index.search(np.ones((2, 3), np.float32), 5)] == [0, 0]
    emptied = index.changed(removed=[], labels=[1], vectors=np.ones((1, 3), np.float32)).without([1])
    assert len(emptied) == 0
    assert [len(hits.labels) for hits in emptied.search(np.ones((2, 3), np.float32), 5)] == [0, 0]


def test_cosine_does_not_see_length_however_extreme() -> None:
    vectors = np.array([[1, 0], [1e-38, 1e-38], [3e38, 3e38], [1e-45, 0]], np.float32)
    (hits,) = filled("cosine", vectors).search(np.array([[0, 2e-40]], np.float32), 4)
    assert hits.labels.tolist()[:2] in ([2, 3], [3, 2])
    np.testing.assert_allclose(hits.distances, [1 - 0.5**0.5, 1 - 0.5**0.5, 1, 1], rtol=1e-6)


def test_zero_query_under_cosine_names_its_row() -> None:
    with pytest.raises(DomainError) as raised:
        filled("cosine", rows(15, (3, 2))).search(np.array([[1, 0], [0, 0]], np.float32), 1)
    assert raised.value.row == 1


@pytest.mark.parametrize("stale", [[2], [99], [0], [1, 2, 3]])
def test_labels_that_it_does_not_hold_are_refused(stale: list[int]) -> None:
    index = filled("euclidean", rows(16, (50, 2))).without([2])
    with pytest.raises(StaleLabelsError):
        index.search(np.zeros((1, 2), np.float32), 1, allowed=np.array(stale))
    arguments: dict[str, Any] = {"labels": [51], "vectors": rows(16, (1, 2))}
    with pytest.raises(StaleLabelsError):
        index.changed(removed=[99], **arguments)
