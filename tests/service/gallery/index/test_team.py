"""Threads share out the queries of one search at a time, where there is enough to share out."""

import threading
from dataclasses import replace
from pathlib import Path

import faiss
import pytest

from service.gallery.index.accelerator import Accelerator
from service.gallery.index.team import Team
from tests.service.gallery.index.galleries import embeddings, filled, sealed, snapshots_in


def test_one_search_at_a_time_has_a_team() -> None:
    team = Team()
    with team.of(2) as first:
        with team.of(2) as second, team.of(1) as third:
            assert (first, second, third) == (2, 1, 1)
        with team.of(2) as fourth:
            assert fourth == 1  # those that had none give none back
    with pytest.raises(ValueError, match="it failed"), team.of(2):
        raise ValueError("it failed")
    with team.of(3) as last:
        assert last == 3


def accelerator(tmp_path: Path, kind: str) -> Accelerator:
    index = filled("euclidean", embeddings(2_000, seed=1))
    fast, _ = sealed(index, snapshots_in(tmp_path, "euclidean"), kind)
    assert fast.sealed is not None
    assert fast.sealed.accelerator is not None
    return fast.sealed.accelerator


@pytest.mark.parametrize(
    ("kind", "effort", "queries", "threads"),
    [
        ("hnsw", 200, 1, 1),
        ("hnsw", 39, 2, 1),
        ("hnsw", 40, 2, 2),
        ("hnsw", 40, 9, 3),
        ("ivf", 4, 16, 1),
        ("ivf", 4, 17, 3),
    ],
)
def test_much_is_shared_out_and_comes_to_the_same(
    tmp_path: Path, kind: str, effort: int, queries: int, threads: int
) -> None:
    several = replace(accelerator(tmp_path, kind), threads=3).with_effort({10: effort, 100: effort})
    asked = embeddings(queries, seed=2)
    found = several.propose(asked, 10, passing=None, share=1.0)
    assert faiss.omp_get_max_threads() == threads
    alone = replace(several, threads=1).propose(asked, 10, passing=None, share=1.0)
    assert found.tolist() == alone.tolist()


def test_beside_a_search_that_has_the_team_others_are_done_by_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team()
    monkeypatch.setattr("service.gallery.index.accelerator._TEAM", team)
    several, seen = replace(accelerator(tmp_path, "hnsw"), threads=2), []

    def search() -> None:
        several.propose(embeddings(40, seed=2), 10, passing=None, share=1.0)
        seen.append(faiss.omp_get_max_threads())

    with team.of(2):
        other = threading.Thread(target=search)
        other.start()
        other.join()
    search()
    assert seen == [1, 2]
