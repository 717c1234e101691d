"""The nearest of what was measured: a query alone finds exactly what it finds among others."""

from pathlib import Path

import numpy as np
import pytest

from service.gallery.collection import CollectionMetric
from service.gallery.index.hits import EvenHits, Hits, joined_hits, nearest, nearest_of_each
from tests.service.gallery.index.galleries import embeddings, filled, sealed, snapshots_in

LABELS = np.array([2, 3, 5, 7, 11, 13])


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
def test_a_query_alone_finds_what_it_finds_among_others(tmp_path: Path, metric: CollectionMetric) -> None:
    fast, _ = sealed(filled(metric, embeddings(2_000, seed=1)), snapshots_in(tmp_path, metric), "hnsw")
    queries = embeddings(40, seed=2)
    for query, among in zip(queries, fast.search(queries, 10), strict=True):
        (alone,) = fast.search(query[np.newaxis], 10)
        assert alone.labels.tolist() == among.labels.tolist()
        assert alone.distances.tolist() == among.distances.tolist()


def test_lower_labels_come_first_among_equals_and_what_is_none_never() -> None:
    positions, distances = (
        np.array([[4, 1, 0, 3], [5, 2, -1, -1]]),
        np.array([[1, 1, 2, 0.5], [3, 3, np.inf, np.inf]]),
    )
    first, second = nearest_of_each(LABELS, positions, distances, 3)
    assert (first.labels.tolist(), first.distances.tolist()) == ([7, 3, 11], [0.5, 1, 1])
    assert (second.labels.tolist(), second.distances.tolist()) == ([5, 13], [3, 3])
    (alone, near) = (nearest(LABELS, positions[0], distances[0], 3, limit) for limit in (np.inf, 0.9))
    assert (alone.labels.tolist(), alone.distances.tolist()) == ([7, 3, 11], [0.5, 1, 1])
    assert (near.labels.tolist(), near.distances.tolist()) == ([7], [0.5])


def test_where_each_query_has_enough_none_is_short() -> None:
    """As a rule; then it is not counted how many there are."""
    positions, distances = (
        np.array([[4, 1, 0, 3], [5, 2, -1, -1]]),
        np.array([[1, 1, 2, 0.5], [3, 3, np.inf, np.inf]]),
    )
    even = nearest_of_each(LABELS, positions, distances, 2)
    assert isinstance(even, EvenHits)
    first, second = even
    assert (first.labels.tolist(), first.distances.tolist()) == ([7, 3], [0.5, 1])
    assert (second.labels.tolist(), second.distances.tolist()) == ([5, 13], [3, 3])
    assert [hit.labels.tolist() for hit in even[1:]] == [[5, 13]]
    for hits in (even, [first, second]):
        joined, ends = joined_hits(hits)
        assert (joined.labels.tolist(), joined.distances.tolist()) == ([7, 3, 5, 13], [0.5, 1, 3, 3])
        assert list(ends) == [2, 4]
    assert joined_hits([first]) == (first, [2])


def test_queries_that_find_nothing_end_where_the_one_before_ends() -> None:
    one, none = Hits(np.array([7, 3]), np.array([0.5, 1])), Hits(np.empty(0, np.int64), np.empty(0))
    joined, ends = joined_hits([none, one, none])
    assert (joined.labels.tolist(), list(ends)) == ([7, 3], [0, 2, 2])
    for nothing in ([none, none], EvenHits(np.empty((2, 0), np.int64), np.empty((2, 0)))):
        joined, ends = joined_hits(nothing)
        assert (joined.labels.tolist(), joined.distances.tolist(), list(ends)) == ([], [], [0, 0])
    assert list(joined_hits([])[1]) == []
