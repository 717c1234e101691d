"""Sealed rows, what accelerates them and what is new, against a scan of everything."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.gallery.collection import CollectionMetric
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import StaleLabelsError
from tests.service.gallery.index.galleries import (
    METRICS,
    agree,
    embeddings,
    filled,
    recall,
    sealed,
    snapshots_in,
    truth,
)

KINDS: list[dict[str, Any]] = [
    {"kind": "flat"},
    {"kind": "hnsw"},
    {"kind": "hnsw", "quantization": "sq8"},
    {"kind": "ivf", "nlist": 40},
    {"kind": "ivf", "nlist": 40, "quantization": "sq8"},
    {"kind": "flat", "quantization": "sq8"},
]
ROWS = 4_000


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("options", KINDS, ids=lambda options: "-".join(map(str, options.values())))
def test_nearly_all_nearest_are_found_with_exact_distances(
    metric: CollectionMetric, options: dict[str, Any], tmp_path: Path
) -> None:
    vectors, queries = embeddings(ROWS, seed=1), embeddings(50, seed=2)
    index, _ = sealed(filled(metric, vectors), snapshots_in(tmp_path, metric), **options)
    assert len(index.delta.labels) == 0
    index = index.changed(removed=[5, 6], labels=[ROWS + 1, ROWS + 2], vectors=vectors[4:6])
    scanned = truth(index)
    for k in (1, 10):
        wanted = scanned.search(queries, k)
        assert recall(index.search(queries, k), wanted) >= 0.99
        assert agree(index.search(queries, k, exact=True), wanted)
    (nearest,) = index.search(vectors[4:5], 1) if metric != "inner_product" else index.search(queries[:1], 1)
    if metric != "inner_product":  # the row that died is there under another label
        assert (nearest.labels.tolist(), nearest.distances.tolist()) == ([ROWS + 1], [0.0])


def test_max_distance_is_complete_and_many_neighbours_too(tmp_path: Path) -> None:
    vectors, queries = embeddings(ROWS, seed=1), embeddings(20, seed=2)
    index, _ = sealed(filled("euclidean", vectors), snapshots_in(tmp_path, "euclidean"), "hnsw")
    scanned = truth(index)
    limit = float(np.median([hits.distances[200] for hits in scanned.search(queries, 201)]))
    for k in (10, 3_000):
        found = index.search(queries, k, max_distance=limit)
        wanted = scanned.search(queries, k, max_distance=limit)
        assert agree(found, wanted)
    assert [len(hits.labels) for hits in index.search(queries, 2 * ROWS)] == [ROWS] * 20


@pytest.mark.parametrize("scanned_rows", [0, 50_000])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.004])
def test_a_filter_is_never_short_and_hardly_less_good(
    scanned_rows: int, share: float, tmp_path: Path
) -> None:
    """Also where only few rows pass and the accelerator is asked all the same."""
    vectors, queries = embeddings(ROWS, seed=1), embeddings(50, seed=2)
    begun = filled("cosine", vectors[:-100], scanned_rows=scanned_rows)
    index, _ = sealed(begun, snapshots_in(tmp_path, "cosine"), "hnsw")
    index = index.changed(removed=[], labels=range(ROWS - 99, ROWS + 1), vectors=vectors[-100:])
    random = np.random.default_rng(3)
    passing = random.permutation(np.flatnonzero(random.random(ROWS) < share) + 1)
    found = index.search(queries, 10, allowed=passing)
    wanted = truth(index).search(queries, 10, allowed=passing)
    assert recall(found, wanted) >= 0.99
    for hits in found:
        assert len(hits.labels) == min(10, len(passing))
        assert np.isin(hits.labels, passing).all()


@pytest.mark.parametrize("metric", METRICS)
def test_codes_of_the_rows_of_a_filter_are_searched_alike(metric: CollectionMetric, tmp_path: Path) -> None:
    queries, passing = embeddings(20, seed=2), np.arange(1, ROWS, 3)
    index, _ = sealed(filled(metric, embeddings(ROWS, seed=1)), snapshots_in(tmp_path, metric), "flat")
    index = index.changed(removed=[5, 7], labels=np.arange(ROWS + 1, ROWS + 9), vectors=embeddings(8, seed=4))
    plain, scanned, by_day = index.memory_bytes, truth(index), np.random.default_rng(5)
    days = by_day.permutation(np.setdiff1d(scanned.labels, [1, 2]))  # two have none
    codes, laid = ROWS * 32, ROWS * (32 + 12)  # of 24 numbers and 8 zeros

    def order(name: str | None) -> tuple[str, Integers] | None:
        return None if name == "day" else ("day", days)

    def search(allowed: Integers, memory: int) -> None:
        index.encode_if_due(order)
        found = index.search(queries, 10, allowed=allowed)
        wanted = scanned.search(queries, 10, allowed=allowed)
        assert agree(found, wanted)
        assert index.memory_bytes == plain + memory

    passing = np.setdiff1d(passing, [7])
    for at in range(4):
        search(passing[at:], 0)
    copied = 32 * len(passing)
    for at in range(24):
        some = passing[at:]
        for _ in range(2):  # the copies of a filter that comes again are taken again
            search(some, codes + copied - 32 * at)
    search(passing, codes + copied)  # 33,024 have been copied
    search(passing, laid + copied)
    search(days[100:900], laid)  # which lie next to each other
    search(np.concatenate([[ROWS + 3], days[100:900], [ROWS + 1]]), laid)
    index = index.without(passing[:1])
    scanned = scanned.without(passing[:1])
    search(passing[1:], laid + copied - 32)
    (left, *_) = index.search(queries[:1], ROWS, allowed=passing[1:])
    assert sorted(left.labels.tolist()) == passing[1:].tolist()


def test_new_rows_have_no_codes(tmp_path: Path) -> None:
    vectors = embeddings(ROWS, seed=1)
    index, _ = sealed(filled("euclidean", vectors), snapshots_in(tmp_path, "euclidean"), "flat")
    new = np.arange(ROWS + 1, 2 * ROWS + 1)
    index = index.changed(removed=[], labels=new, vectors=vectors)
    for _ in range(2):
        index.search(vectors[:1], 5, allowed=np.arange(1, ROWS + 1))
        index.encode_if_due(lambda name: None)
    numbers = 64  # as many as 24 count for
    assert index.weight(np.arange(1, 1_201)) == 200 * numbers
    assert index.weight(new[:1_200]) == 1_200 * numbers
    mixed = np.random.default_rng(3).permutation(np.arange(ROWS - 1_199, ROWS + 1_201))
    assert index.weight(mixed) == (200 + 1_200) * numbers
    assert index.weight(np.arange(ROWS - 398, ROWS + 1)) == 399 * numbers
    forgetting = index.forgetting()
    assert forgetting.memory_bytes == index.memory_bytes - ROWS * 32
    assert forgetting.weight(np.arange(1, 1_201)) == 1_200 * numbers


def test_codes_that_are_given_up_leave_nothing_in_memory(tmp_path: Path) -> None:
    vectors = (embeddings(ROWS, seed=1) * 1e-5 + 1).astype(np.float32)
    index, _ = sealed(filled("euclidean", vectors), snapshots_in(tmp_path, "euclidean"), "flat")
    plain, allowed = index.memory_bytes, [np.arange(1, ROWS + 1, 2), np.arange(2, ROWS + 1, 2)]
    for number in range(40):
        index.encode_if_due(lambda name: None)
        index.search(vectors[:1], 5, allowed=allowed[number % 2])
    assert index.sealed is not None
    assert index.sealed._coding.codes is None
    assert index.sealed._remembered._packed is None
    assert index.memory_bytes == plain


def test_a_filter_far_from_the_query_is_not_short(tmp_path: Path) -> None:
    """The rows that pass are the farthest ones, where the graph's way never leads."""
    vectors, query = embeddings(ROWS, seed=1), embeddings(1, seed=2)
    index, _ = sealed(filled("euclidean", vectors), snapshots_in(tmp_path, "euclidean"), "hnsw")
    everything = truth(index).search(query, ROWS)[0]
    farthest: Integers = np.sort(everything.labels[-40:])
    (found,) = index.search(query, 40, allowed=farthest)
    assert sorted(found.labels.tolist()) == farthest.tolist()


def test_labels_that_it_does_not_hold_are_refused(tmp_path: Path) -> None:
    vectors = embeddings(1_200, seed=1)
    index, _ = sealed(filled("euclidean", vectors[:1_100]), snapshots_in(tmp_path, "euclidean"), "hnsw")
    index = index.changed(removed=[7], labels=range(1_101, 1_201), vectors=vectors[1_100:])
    index = index.without([1_150])
    for some in (
        np.array([0, 7, 8, 1_100, 1_150, 1_151, 1_200, 1_201]),
        np.arange(1_300),
        np.empty(0, np.int64),
    ):
        held = set(index.living().tolist())
        assert index.holds(some).tolist() == [label in held for label in some.tolist()]
    for stale in ([7], [1_150], [1_201], [3, 7, 1_200]):
        with pytest.raises(StaleLabelsError):
            index.search(vectors[:1], 3, allowed=np.array(stale))
        with pytest.raises(StaleLabelsError):
            index.without([9_999])


@pytest.mark.parametrize("options", KINDS, ids=lambda options: "-".join(map(str, options.values())))
def test_what_grew_is_as_good_as_what_is_built_at_once(options: dict[str, Any], tmp_path: Path) -> None:
    vectors, queries = embeddings(ROWS, seed=1), embeddings(500, seed=2)
    snapshots = snapshots_in(tmp_path, "euclidean")
    half = ROWS // 2
    index, before = sealed(filled("euclidean", vectors[:half]), snapshots, **options)
    index = index.changed(removed=range(1, 100), labels=range(half + 1, ROWS + 1), vectors=vectors[half:])
    index, _ = sealed(index, snapshots, before=before, **options)
    assert (len(index), len(index.delta)) == (ROWS - 99, 0)
    wanted = truth(index).search(queries, 10)
    assert recall(index.search(queries, 10), wanted) >= 0.99
    assert all(hits.labels.min() >= 100 for hits in index.search(queries, 10))


def test_what_dies_and_comes_while_it_is_sealed_is_dead_and_there(tmp_path: Path) -> None:
    vectors = embeddings(1_500, seed=1)
    index = filled("euclidean", vectors[:1_400])
    later, snapshot = sealed(index, snapshots_in(tmp_path, "euclidean"), "hnsw")
    assert later.sealed is not None
    meanwhile = index.changed(removed=[3], labels=range(1_401, 1_501), vectors=vectors[1_400:])
    meanwhile = meanwhile.without([1_450])
    settled = meanwhile.with_sealed(later.sealed)
    assert settled.living().tolist() == meanwhile.living().tolist()
    assert len(settled) == 1_498
    assert snapshot.plan.kind == "hnsw"
    (hits,) = settled.search(vectors[2:3], 1)
    assert hits.labels.tolist() != [3]
