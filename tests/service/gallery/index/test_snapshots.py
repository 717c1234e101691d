"""Snapshots are whole or not there, and nothing damaged is read."""

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.gallery.collection import Vectors
from service.gallery.index.accelerator import Stopped, Work
from service.gallery.index.measuring import Measure
from service.gallery.index.sealing import seal
from service.gallery.index.snapshot_files import write_manifest
from service.gallery.index.snapshots import Snapshot, Snapshots
from tests.service.gallery.index.galleries import embeddings, filled, plan, sealed, snapshots_in, work

ROWS = 1_200
FILES = ["vectors.faiss", "labels.npy", "accelerator.faiss", "copies.faiss", "manifest.json"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def snapshots(home: Path) -> Snapshots:
    return snapshots_in(home, "cosine")


@pytest.fixture
def snapshot(snapshots: Snapshots) -> Snapshot:
    return sealed(filled("cosine", embeddings(ROWS, seed=1)), snapshots, "hnsw")[1]


@pytest.fixture
def vectors(snapshot: Snapshot) -> Vectors:
    """Return the rows of the snapshot, of length 1."""
    return Measure("cosine").prepared(embeddings(ROWS, seed=1))


def test_what_is_opened_is_what_was_sealed(
    snapshots: Snapshots, snapshot: Snapshot, vectors: Vectors
) -> None:
    opened = snapshots.open(threads=1)
    assert opened is not None
    again, rows = opened
    assert again == snapshot
    np.testing.assert_array_equal(rows.rows.vectors, vectors)
    assert rows.rows.labels.tolist() == list(range(1, ROWS + 1))
    assert rows.accelerator is not None
    assert rows.accelerator.effort == snapshot.effort


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_anywhere_is_noticed_and_nothing_is_read(
    name: str, seed: int, snapshots: Snapshots, snapshot: Snapshot
) -> None:
    path = snapshot.folder / name
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    path.write_bytes(data)
    assert snapshots.open(threads=1) is None
    assert not snapshot.folder.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_cut_file_is_noticed(name: str, snapshots: Snapshots, snapshot: Snapshot) -> None:
    path = snapshot.folder / name
    path.write_bytes(path.read_bytes()[:-1])
    assert snapshots.open(threads=1) is None


def test_an_older_one_is_read_where_the_newest_is_damaged(snapshots: Snapshots, snapshot: Snapshot) -> None:
    newer = sealed(filled("cosine", embeddings(ROWS + 50, seed=1)), snapshots, "hnsw")[1]
    (newer.folder / "labels.npy").unlink()
    opened = snapshots.open(threads=1)
    assert opened is not None
    assert opened[0] == snapshot


def test_what_a_crash_left_unfinished_is_removed(snapshots: Snapshots, snapshot: Snapshot) -> None:
    unfinished = snapshots.new_folder()
    (unfinished / "vectors.faiss").write_bytes(b"half")
    assert snapshots.open(threads=1) is not None
    assert not unfinished.exists()
    assert snapshot.folder.exists()


def test_a_build_that_is_stopped_or_refused_leaves_nothing(home: Path) -> None:
    index = filled("euclidean", embeddings(ROWS, seed=1))
    hindered = work()
    hindered.stop.set()
    with pytest.raises(Stopped):
        seal(index, plan(index, "hnsw"), None, snapshots_in(home, "euclidean"), hindered)

    def full(folder: Path) -> None:
        if any(folder.glob("*/manifest.json")) or (folder / "manifest.json").exists():
            raise OSError(28, "No space left on device")

    refusing = Snapshots(home / "snapshots", dimension=24, metric="euclidean", sync=full)
    with pytest.raises(OSError, match="No space"):
        seal(index, plan(index, "flat"), None, refusing, work())
    assert list((home / "snapshots").iterdir()) == []


def test_progress_is_told(snapshots: Snapshots) -> None:
    index, told = filled("cosine", embeddings(ROWS, seed=1)), []
    busy = Work(1, work().stop, lambda done, total: told.append((done, total)))
    seal(index, plan(index, "hnsw"), None, snapshots, busy)
    assert told[-1] == (ROWS, ROWS)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are listed on Linux only")
def test_what_was_loaded_is_not_held_once_it_is_dropped(snapshots: Snapshots, snapshot: Snapshot) -> None:
    for _ in range(3):
        loaded = snapshots.load(snapshot.folder, threads=1)
        assert str(snapshot.folder) in Path("/proc/self/maps").read_text(encoding="utf-8")
        del loaded
        gc.collect()
        assert str(snapshot.folder) not in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are listed on Linux only")
def test_no_file_is_mapped_any_more_when_it_is_to_be_read_in_large_pages(home: Path) -> None:
    synced: list[str] = []

    def sync(folder: Path) -> None:
        if folder.name.startswith(".unfinished"):  # its files were let go from the page cache
            synced.append(folder.name)
            assert folder.name not in Path("/proc/self/maps").read_text(encoding="utf-8")

    snapshots = Snapshots(home / "snapshots", dimension=24, metric="cosine", sync=sync)
    index = filled("cosine", embeddings(ROWS, seed=1))
    snapshot, rows = seal(index, plan(index, "hnsw"), None, snapshots, work())
    more = index.with_sealed(rows).changed(
        removed=[3], labels=ROWS + np.arange(1, 300), vectors=embeddings(299, seed=2)
    )
    seal(more, plan(more, "hnsw"), snapshot, snapshots, work())
    assert len(synced) == 2


def test_what_the_disk_does_not_give_back_as_it_was_written_is_refused_and_leaves_nothing(home: Path) -> None:
    index = filled("cosine", embeddings(ROWS, seed=1))

    def spoil(folder: Path) -> None:
        for path in (home / "snapshots").glob("[0-9]*/copies.faiss"):  # once it is under its name
            path.write_bytes(path.read_bytes()[:-1] + b"?")

    spoiling = Snapshots(home / "snapshots", dimension=24, metric="cosine", sync=spoil)
    with pytest.raises(OSError, match=r"copies\.faiss is damaged"):
        seal(index, plan(index, "hnsw"), None, spoiling, work())
    assert list((home / "snapshots").iterdir()) == []


def test_a_snapshot_of_before_there_were_copies_is_read_grown_and_erased(tmp_path: Path) -> None:
    older = snapshots_in(tmp_path, "euclidean")  # as other metrics have it to this day
    vectors = embeddings(ROWS + 200, seed=1)
    index, snapshot = sealed(filled("euclidean", vectors[:ROWS]), older, "hnsw")
    body = json.loads((snapshot.folder / "manifest.json").read_bytes())["body"]
    del body["plan"]["halved"]
    write_manifest(snapshot.folder / "manifest.json", body)
    opened = older.open(threads=1)
    assert opened is not None
    labels = np.arange(ROWS + 1, ROWS + 201)
    index = index.with_sealed(opened[1]).changed(removed=[], labels=labels, vectors=vectors[ROWS:])
    _, grown = sealed(index, older, "hnsw", opened[0])
    assert (grown.plan.halved, grown.rows) == (False, ROWS + 200)
    assert older.erase(grown, np.array([5]))
    assert not any(vectors[5].tobytes() in path.read_bytes() for path in grown.folder.iterdir())


def test_erased_rows_and_their_copies_are_in_no_file(
    home: Path, snapshots: Snapshots, snapshot: Snapshot, vectors: Vectors
) -> None:
    halves = torch.from_numpy(vectors).bfloat16().view(torch.int16).numpy()

    def holding(row: int) -> set[str]:
        files = [path for path in home.rglob("*") if path.is_file()]
        rows = (vectors[row].tobytes(), halves[row].tobytes())
        return {file.name for file in files if any(one in file.read_bytes() for one in rows)}

    for row in (5, ROWS - 1):
        assert holding(row) == {"vectors.faiss", "copies.faiss"}
    assert snapshots.erase(snapshot, np.array([5, ROWS - 1]))
    for row in (5, ROWS - 1):
        assert holding(row) == set()
    assert holding(6)
    opened = snapshots.open(threads=1)
    assert opened is not None
    np.testing.assert_array_equal(opened[1].rows.vectors[6], vectors[6])


@pytest.mark.parametrize(
    ("kind", "options", "least"), [("hnsw", {}, 14), ("hnsw", {"ef_search": 3}, 3), ("ivf", {}, 3)]
)
def test_a_snapshot_of_before_there_were_small_efforts_is_searched_as_widely_as_it_was(
    tmp_path: Path, kind: str, options: dict[str, Any], least: int
) -> None:
    """Its HNSW was found to do with 10 where 14 was the least."""
    snapshots = snapshots_in(tmp_path, "euclidean")
    _, snapshot = sealed(filled("euclidean", embeddings(2_000, seed=1)), snapshots, kind, **options)
    body = json.loads((snapshot.folder / "manifest.json").read_bytes())["body"]
    body |= {"format": 1, "effort": {"10": 3, "100": 384}, "tuned_rows": 1_000}
    write_manifest(snapshot.folder / "manifest.json", body)
    opened = snapshots.open(threads=1)
    assert opened
    assert opened[0].effort == {10: least, 100: 384}
    fast = opened[1].accelerator
    assert fast
    assert fast.effort == opened[0].width
    assert fast.effort[10] == least * (1 if options else 2)  # it has twice the rows since
    assert snapshots.erase(opened[0], np.array([5])) == (kind == "hnsw")
    again = snapshots.open(threads=1)
    assert again
    assert again[0].effort == {10: least, 100: 384}
    body["format"] = 0
    write_manifest(snapshot.folder / "manifest.json", body)
    assert snapshots.open(threads=1) is None


@pytest.mark.parametrize(("kind", "quantization"), [("ivf", "none"), ("hnsw", "sq8")])
def test_codes_cannot_be_erased_in_place(kind: str, quantization: str, snapshots: Snapshots) -> None:
    _, snapshot = sealed(
        filled("cosine", embeddings(ROWS, seed=1)), snapshots, kind, quantization=quantization
    )
    assert not snapshots.erase(snapshot, np.array([5]))
