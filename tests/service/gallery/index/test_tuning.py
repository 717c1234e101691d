"""How widely is searched: enough for queries that are in no index, and found again as it grows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.gallery.folders import sync_folder
from service.gallery.index import tuning
from service.gallery.index.segments import Index
from service.gallery.index.snapshots import Snapshots
from service.gallery.index.tuning import RECALL, trial_rows
from tests.service.gallery.index.galleries import embeddings, filled, sealed, snapshots_in

KINDS = ["hnsw", "ivf"]
SLACK = 0.01  # two samples of 300 queries


@pytest.mark.parametrize("quantization", ["none", "sq8"])
@pytest.mark.parametrize("kind", KINDS)
def test_queries_that_it_never_saw_find_what_was_promised(
    tmp_path: Path, kind: str, quantization: str
) -> None:
    index = filled("euclidean", embeddings(3_000, seed=1))
    fast, snapshot = sealed(index, snapshots_in(tmp_path, "euclidean"), kind, quantization=quantization)
    queries = embeddings(300, seed=2)
    for k in (10, 100):
        found, exact = fast.search(queries, k), index.search(queries, k)
        pairs = zip(found, exact, strict=True)
        hits = sum(len(np.intersect1d(one.labels, right.labels)) for one, right in pairs)
        assert hits / (k * len(queries)) >= RECALL - SLACK, k
    assert snapshot.effort[10] < 512  # and it is not as wide as can be


def test_the_rows_that_it_is_tried_with_are_a_tenth_and_of_many_a_twentieth() -> None:
    sizes = (2, 10, 11, 1_000, 150_000, 1_000_000)
    assert [rows - trial_rows(rows) for rows in sizes] == [1, 1, 2, 100, 10_000, 50_000]


def test_where_chance_leaves_it_open_more_queries_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, snapshots = filled("euclidean", embeddings(3_000, seed=1)), snapshots_in(tmp_path, "euclidean")
    monkeypatch.setattr(tuning, "_QUERIES", 40)
    _, sure = sealed(index, snapshots, "hnsw", m=6, ef_construction=16)
    monkeypatch.setattr(tuning, "_MOST_QUERIES", 40)
    _, wary = sealed(index, snapshots, "hnsw", m=6, ef_construction=16)
    assert sure.effort[10] < wary.effort[10]


def test_rows_too_close_together_for_their_copies_are_found_by_themselves(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    centre = random.standard_normal(64)
    near = (centre + 0.003 * random.standard_normal((1_500, 64))).astype(np.float32)
    index = Index(64, "cosine", scanned_rows=0).changed(removed=[], labels=np.arange(1, 1_501), vectors=near)
    snapshots = Snapshots(tmp_path / "s", dimension=64, metric="cosine", sync=sync_folder)
    fast, snapshot = sealed(index, snapshots, "hnsw")
    assert not snapshot.plan.halved
    queries = (centre + 0.003 * random.standard_normal((100, 64))).astype(np.float32)
    pairs = zip(fast.search(queries, 10), fast.search(queries, 10, exact=True), strict=True)
    hits = sum(len(np.intersect1d(one.labels, right.labels)) for one, right in pairs)
    assert hits / 1_000 >= RECALL - SLACK


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_of_many_can_be_sealed(tmp_path: Path, kind: str, rows: int) -> None:
    index = filled("euclidean", embeddings(rows, seed=1))
    fast, _ = sealed(index, snapshots_in(tmp_path, "euclidean"), kind)
    (hits,) = fast.search(embeddings(1, seed=2), 5)
    assert len(hits.labels) == min(rows, 5)


def test_it_is_tried_again_when_it_has_grown_and_built_anew_where_too_few_are_new(tmp_path: Path) -> None:
    vectors, snapshots = embeddings(2_600, seed=1), snapshots_in(tmp_path, "euclidean")

    def more(index: Index, up_to: int) -> Index:
        labels = np.arange(index.last_label + 1, up_to + 1)
        return index.changed(removed=[], labels=labels, vectors=vectors[index.last_label : up_to])

    index, snapshot = sealed(filled("euclidean", vectors[:1_200]), snapshots, "hnsw")
    tuned = []
    for up_to in (1_310, 1_330, 1_420, 1_470, 1_550, 2_600):
        index = more(index, up_to)
        index, snapshot = sealed(index, snapshots, "hnsw", snapshot)
        tuned.append(snapshot.tuned_rows)
        grown = snapshot.rows / snapshot.tuned_rows
        assert snapshot.width == {k: math.ceil(wide * grown) for k, wide in snapshot.effort.items()}
    # 1,470 is a tenth more than 1,310, but only 50 are new.
    assert tuned == [1_200, 1_200, 1_200, 1_200, 1_200, 2_600]
    given, snapshot = sealed(filled("euclidean", vectors[:1_200]), snapshots, "hnsw", ef_search=33)
    _, snapshot = sealed(more(given, 1_700), snapshots, "hnsw", snapshot, ef_search=33)
    assert snapshot.width == {10: 33}  # what was asked for stays
    small, before = sealed(filled("euclidean", vectors[:1_200]), snapshots, "hnsw")
    for up_to in (*range(1_290, 2_371, 90), 2_415):
        small, before = sealed(more(small, up_to).without([up_to - 5]), snapshots, "hnsw", before)
    # Twice as many, 44 new ones at the end: it is made of what is alive, without the fourteen that died.
    assert small.sealed
    assert before.tuned_rows == small.sealed.rows.rows == len(small) == 2_401
    assert len(small.search(vectors[:1], 5)[0].labels) == 5


def test_where_nothing_is_written_a_fiftieth_more_rows_suffice(tmp_path: Path) -> None:
    vectors = embeddings(23_000, seed=1)[:, :4]
    snapshots = Snapshots(tmp_path / "s", dimension=4, metric="euclidean", sync=sync_folder)
    index = Index(4, "euclidean").changed(removed=[], labels=np.arange(1, 20_501), vectors=vectors[:20_500])
    index, snapshot = sealed(index, snapshots, "ivf", nlist=4)
    for new, idle, tuned_rows in ((2_000, False, 20_500), (1_999, True, 20_500), (2_000, True, 22_500)):
        labels = np.arange(20_501, 20_501 + new)
        grown = index.changed(removed=[], labels=labels, vectors=vectors[20_500 : 20_500 + new])
        _, after = sealed(grown, snapshots, "ivf", snapshot, idle=idle, nlist=4)
        assert after.tuned_rows == tuned_rows, (new, idle)


@pytest.mark.parametrize("share", [0.1, 0.25])
@pytest.mark.parametrize(("kind", "options"), [("hnsw", {"m": 8, "ef_construction": 16}), ("ivf", {})])
def test_among_those_that_pass_a_filter_as_many_are_found(
    tmp_path: Path, kind: str, options: dict[str, Any], share: float
) -> None:
    index = filled("euclidean", embeddings(4_000, seed=1), scanned_rows=100)
    fast, _ = sealed(index, snapshots_in(tmp_path, "euclidean"), kind, **options)
    allowed = 1 + np.flatnonzero(np.random.default_rng(3).random(4_000) < share)
    queries = embeddings(300, seed=2)
    found = fast.search(queries, 10, allowed=allowed)
    exact = index.search(queries, 10, allowed=allowed)
    hits = [len(np.intersect1d(one.labels, right.labels)) for one, right in zip(found, exact, strict=True)]
    assert sum(hits) / (10 * len(queries)) >= RECALL
