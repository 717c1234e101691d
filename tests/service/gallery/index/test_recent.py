"""Rows that are newer than the snapshot and fast all the same, against a scan of everything."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.gallery.collection import CollectionMetric
from service.gallery.index import segments
from service.gallery.index.joint import joint_search
from service.gallery.index.recent import recent_due, recent_rows
from service.gallery.index.sealing import due
from service.gallery.index.segments import Index
from service.gallery.index.sizes import Sizes
from service.gallery.index.snapshots import Snapshot
from tests.service.gallery.index.galleries import (
    DIMENSION,
    METRICS,
    agree,
    embeddings,
    filled,
    plan,
    recall,
    sealed,
    snapshots_in,
    truth,
    work,
)

OLD, NEW = 4_000, 1_500
VECTORS = embeddings(OLD + NEW, seed=1)
QUERIES = embeddings(400, seed=2)
SMALL = Sizes(scanned_bytes=16 * 100 * 4 * DIMENSION, sealed_rows=1)  # 100 rows are too many to scan


def begun(home: Path, metric: CollectionMetric = "cosine") -> tuple[Index, Snapshot]:
    return sealed(filled(metric, VECTORS[:OLD], scanned_rows=200), snapshots_in(home, metric), "hnsw")


def written(index: Index, count: int, *, removed: Any = ()) -> Index:
    """Return the index with so many more of the vectors."""
    first = index.last_label
    labels = np.arange(first + 1, first + 1 + count)
    return index.changed(removed=removed, labels=labels, vectors=VECTORS[first : first + count])


def caught_up(index: Index) -> Index:
    return index.with_recent(recent_rows(index, work()))


def in_three_parts(home: Path, metric: CollectionMetric) -> Index:
    """Return an index with sealed, recent and newer rows, of each of which some have died."""
    index, _ = begun(home, metric)
    index = caught_up(written(index, 500))
    index = caught_up(written(index, 600, removed=[7, OLD + 3, OLD + 4]))
    assert index.recent
    index = written(index, 300, removed=[8, 9, OLD + 501])
    return index.without([OLD + 1_101, OLD + 1_150, *range(OLD + 1_200, OLD + 1_220)])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 10, 40])
def test_what_lies_in_three_parts_is_found_as_if_it_lay_in_one(
    metric: CollectionMetric, k: int, tmp_path: Path
) -> None:
    index = in_three_parts(tmp_path, metric)
    assert [index.sealed and index.sealed.rows.rows, index.recent and index.recent.rows.rows] == [OLD, 1_100]
    assert (len(index), len(index.living())) == (OLD + 1_400 - 28,) * 2
    wanted = truth(index).search(QUERIES, k)
    for few in (1, 2, len(QUERIES)):
        found = index.search(QUERIES[:few], k)
        assert recall(found, wanted[:few]) >= (0.99 if few > 2 else 0.8)
    assert agree(index.search(QUERIES, k, exact=True), wanted)
    newest = VECTORS[OLD + 1_300 : OLD + 1_301]
    if metric != "inner_product":
        assert index.search(newest, 1)[0].labels.tolist() == [OLD + 1_301]
    limit = float(np.median([hits.distances[-1] for hits in wanted]))
    nearer = truth(index).search(QUERIES, k, max_distance=limit)
    assert agree(index.search(QUERIES, k, max_distance=limit), nearer)


@pytest.mark.parametrize("share", [0.5, 0.02])
@pytest.mark.parametrize("metric", METRICS)
def test_a_filter_passes_rows_of_all_three(metric: CollectionMetric, share: float, tmp_path: Path) -> None:
    index, random = in_three_parts(tmp_path, metric), np.random.default_rng(3)
    living = index.living()
    passing = random.permutation(living[random.random(len(living)) < share])
    wanted = truth(index).search(QUERIES, 10, allowed=passing)
    for _ in range(2):  # the same array is recognised
        found = index.search(QUERIES, 10, allowed=passing)
        assert recall(found, wanted) >= 0.99
        assert all(np.isin(hits.labels, passing).all() and len(hits.labels) == 10 for hits in found)
    assert agree(index.search(QUERIES, 10, allowed=passing, exact=True), wanted)
    assert index.weight(passing) >= len(passing) * DIMENSION


@pytest.mark.parametrize("metric", METRICS)
def test_one_search_of_all_finds_what_one_of_each_does(
    metric: CollectionMetric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, asked = in_three_parts(tmp_path, metric), []

    def noted(*given: Any) -> Any:
        asked.append(joint_search(*given))
        return asked[-1]

    monkeypatch.setattr(segments, "joint_search", noted)
    together = index.search(QUERIES, 10)
    assert asked[0] is not None
    monkeypatch.setattr(segments, "joint_search", lambda *given: None)
    assert agree(together, index.search(QUERIES, 10))


def test_where_the_newest_are_all_alike_and_near_they_are_searched_by_themselves(tmp_path: Path) -> None:
    index, _ = begun(tmp_path, "euclidean")
    here = np.full((1, DIMENSION), 50, np.float32)  # where nobody is
    near = here + np.float32(1e-3) * np.random.default_rng(4).standard_normal((400, DIMENSION))
    index = index.changed(removed=[], labels=range(OLD + 1, OLD + 401), vectors=near.astype(np.float32))
    assert index.sealed
    assert joint_search(index.sealed, None, index.delta, here, 10) is None  # float32 does not tell them apart
    assert agree(index.search(here, 10), truth(index).search(here, 10))


def test_a_graph_that_grows_leaves_the_one_that_is_searched(tmp_path: Path) -> None:
    index, _ = begun(tmp_path)
    before = caught_up(written(index, 500))
    found = before.search(QUERIES, 10)
    after = caught_up(written(before, 900))
    assert before.recent
    assert after.recent
    assert (before.recent.rows.rows, after.recent.rows.rows, len(after.delta)) == (500, 1_400, 0)
    assert agree(before.search(QUERIES, 10), found)
    assert recall(after.search(QUERIES, 10), truth(after).search(QUERIES, 10)) >= 0.99


@pytest.mark.parametrize(("new", "scanned"), [(200, 0), (100, 100)])
def test_a_snapshot_takes_the_recent_rows_and_leaves_what_came_meanwhile(
    new: int, scanned: int, tmp_path: Path
) -> None:
    index, snapshot = begun(tmp_path)
    index = written(caught_up(written(index, 500)), 100, removed=[OLD + 5])
    grown, _ = sealed(index, snapshots_in(tmp_path, "cosine"), "hnsw", snapshot)
    assert grown.recent is None
    assert grown.sealed
    assert (grown.sealed.rows.rows, len(grown.delta), len(grown)) == (OLD + 599, 0, OLD + 599)
    meanwhile = caught_up(written(index, new))
    kept = meanwhile.with_sealed(grown.sealed)
    assert (len(kept.delta), len(kept)) == (scanned, OLD + 599 + new)
    wanted = truth(meanwhile).search(QUERIES, 10)
    assert agree(kept.search(QUERIES, 10, exact=True), wanted)
    assert recall(kept.search(QUERIES, 10), wanted) >= 0.99
    again = caught_up(written(kept, 50))  # mostly of rows that are sealed now, the graph is made anew
    assert again.recent
    assert again.recent.rows.rows == new + 50


def test_what_is_out_of_date_when_it_is_done_is_not_taken(tmp_path: Path) -> None:
    index, snapshot = begun(tmp_path)
    index = written(index, 500)
    recent = recent_rows(index, work())
    few = index.without(range(OLD + 1, OLD + 451))
    assert few.with_recent(recent) is few
    grown, _ = sealed(index, snapshots_in(tmp_path, "cosine"), "hnsw", snapshot)
    assert grown.with_recent(recent) is grown
    assert index.unsealed().with_recent(recent).recent is None
    less = index.without([OLD + 1, OLD + 500]).with_recent(recent)
    assert less.recent
    assert (len(less.recent.rows), len(less)) == (498, OLD + 498)


def test_where_many_have_died_all_are_made_anew(tmp_path: Path) -> None:
    index = caught_up(written(begun(tmp_path)[0], 500)).without(range(OLD + 1, OLD + 201))
    again = caught_up(written(index, 100))
    assert again.recent
    assert again.recent.rows.rows == 400
    assert agree(again.search(QUERIES, 10, exact=True), truth(again).search(QUERIES, 10))


def test_what_is_unsealed_is_scanned(tmp_path: Path) -> None:
    index = in_three_parts(tmp_path, "cosine")
    wanted = truth(index).search(QUERIES, 10)
    other = index.unsealed()
    assert (other.recent, len(other)) == (None, len(index))
    assert agree(other.search(QUERIES, 10), wanted)


def test_equally_far_ones_of_all_parts_come_by_their_labels(tmp_path: Path) -> None:
    index, _ = begun(tmp_path, "euclidean")
    same = VECTORS[100:101]
    index = caught_up(index.changed(removed=[], labels=[OLD + 1], vectors=same))
    index = index.changed(removed=[], labels=[OLD + 2], vectors=same)
    (hits,) = index.search(same, 3)
    assert hits.labels.tolist() == [101, OLD + 1, OLD + 2]
    assert hits.distances.tolist() == [0, 0, 0]


def test_a_graph_over_rows_of_its_own_counts_them(tmp_path: Path) -> None:
    taken = []
    for metric in METRICS[:2]:  # with copies of two bytes a number, and with rows of four
        (tmp_path / metric).mkdir()
        index = caught_up(written(begun(tmp_path / metric, metric)[0], 500))
        assert index.recent
        assert index.recent.accelerator
        taken.append(index.recent.accelerator.memory_bytes)
    assert taken[1] - taken[0] == 500 * DIMENSION * 2


def test_it_is_due_where_more_is_new_than_is_scanned_soon(tmp_path: Path) -> None:
    index, _ = begun(tmp_path)
    assert not recent_due(written(index, 100), SMALL)
    assert recent_due(written(index, 101), SMALL)
    assert not recent_due(filled("cosine", VECTORS), SMALL)
    assert not recent_due(caught_up(written(index, 101)), SMALL)


@pytest.mark.parametrize(
    "options", [{"kind": "flat"}, {"kind": "ivf"}, {"kind": "hnsw", "quantization": "sq8"}]
)
def test_what_has_to_learn_codes_or_lists_waits_for_a_snapshot(options: Any, tmp_path: Path) -> None:
    index, _ = sealed(filled("cosine", VECTORS[:OLD]), snapshots_in(tmp_path, "cosine"), **options)
    assert not recent_due(written(index, NEW), SMALL)


@pytest.mark.parametrize(("options", "waits"), [({"kind": "hnsw"}, True), ({"kind": "ivf"}, False)])
def test_beside_searches_a_snapshot_waits_until_a_tenth_is_new(
    options: Any, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gallery.index.sealing._SCANNED_BYTES", 0)
    index, snapshot = sealed(filled("cosine", VECTORS[:OLD]), snapshots_in(tmp_path, "cosine"), **options)

    def is_due(new: int, *, searched: bool) -> bool:
        more = written(index, new)
        return due(more, plan(more, **options), snapshot, Sizes(), searched=searched)

    assert [is_due(new, searched=False) for new in (80, 81)] == [False, True]
    assert [is_due(new, searched=True) for new in (80, 81)] == [False, not waits]
    assert [is_due(new, searched=True) for new in (400, 401)] == [not waits, True]
