"""Backups that a running server makes: one at a time, given up cleanly, and looked into beside what lives."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from service.errors import ConflictError, NotFoundError, NotReadyError, RequestError, StorageError
from service.gallery.backup_jobs import Backup, Backups
from service.gallery.backups import Copying, Kept, Step, back_up, restore
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.folders import lock
from service.gallery.gallery import Gallery
from service.gallery.index.accelerator import Work

CONFIG = CollectionConfig(dimension=2, metric="euclidean")
ITEMS = [NewItem(str(n), f"p{n}", np.array([n, 1], np.float32), {"n": n}) for n in range(5)]
PATIENCE_S = 30


class Slow:
    """Makes backups that wait before their second collection."""

    def __init__(self) -> None:
        self.arrived, self.go_on = threading.Event(), threading.Event()

    def __call__(self, data_dir: Path, out: Path, copying: Copying, *, names: Sequence[str]) -> Kept:
        def told(step: Step) -> None:
            copying.told(step)
            if step.number == 2:
                self.arrived.set()
                while not self.go_on.wait(0.01):
                    copying.go_on()

        return back_up(data_dir, out, Copying(told, copying.go_on), names=names)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "data") as gallery:
        for name in ("cars", "people"):
            gallery.create(name, CONFIG)[0].upsert(ITEMS)
        yield gallery


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def backups(tmp_path: Path, gallery: Gallery, slow: Slow) -> Iterator[Backups]:
    backups = Backups(tmp_path / "backups", tmp_path / "data", gallery, make=slow)
    yield backups
    backups.close()


def ended(backups: Backups, name: str) -> Backup:
    deadline = time.monotonic() + PATIENCE_S
    while (backup := backups.get(name)).state == "running":
        assert time.monotonic() < deadline
    return backup


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    """Let no thread be started in the block: each would need more memory for its stack than there can be."""
    usual = threading.stack_size(2**47 - 2**16)
    try:
        yield
    finally:
        threading.stack_size(usual)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_it_says_how_far_it_is_and_what_it_has(backups: Backups, slow: Slow, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    begun = backups.start("first")
    assert (begun.state, begun.collections) == ("running", 2)
    assert slow.arrived.wait(PATIENCE_S)
    (listed,) = backups.list()
    assert (listed.name, listed.state, listed.kept.collections, listed.kept.items) == (
        "first",
        "running",
        1,
        5,
    )
    assert not (tmp_path / "backups" / "first").exists()  # nothing half done looks whole
    slow.go_on.set()
    done = ended(backups, "first")
    assert (done.state, done.kept.collections, done.kept.items) == ("done", 2, 10)
    assert done.began is not None
    assert done.made is not None
    assert before <= done.began <= done.made <= datetime.now(UTC)
    assert {name: content.items for name, content in done.contents.items()} == {"cars": 5, "people": 5}
    assert done.kept.bytes == sum(content.bytes for content in done.contents.values()) > 0


def test_the_command_restores_it(backups: Backups, slow: Slow, tmp_path: Path) -> None:
    slow.go_on.set()
    name = backups.start().name
    assert ended(backups, name).state == "done"
    assert restore(tmp_path / "backups" / name, tmp_path / "new", Copying(lambda step: None)).items == 10
    with Gallery(tmp_path / "new") as restored:
        assert [one.stats().items for one in restored.list()] == [5, 5]


def test_those_that_are_named_are_in_it_once(backups: Backups, slow: Slow) -> None:
    slow.go_on.set()
    backups.start("some", ["people", "people"])
    assert list(ended(backups, "some").contents) == ["people"]
    with pytest.raises(NotFoundError, match="Did you mean 'people'"):
        backups.start("none", ["people", "peple"])


def test_one_at_a_time_and_none_twice(backups: Backups, slow: Slow) -> None:
    backups.start("first")
    with pytest.raises(ConflictError, match="'first' is being made; wait"):
        backups.start("second")
    slow.go_on.set()
    ended(backups, "first")
    with pytest.raises(ConflictError, match="There is a backup 'first' already"):
        backups.start("first")
    with pytest.raises(RequestError, match="cannot name a backup"):
        backups.start("../first")


def test_another_server_that_makes_one_there_is_not_disturbed(
    backups: Backups, slow: Slow, tmp_path: Path
) -> None:
    (tmp_path / "backups").mkdir()
    held = lock(tmp_path / "backups" / ".lock")
    half = tmp_path / "backups" / ".unfinished-x"
    half.mkdir()
    (half / "lock").touch()
    with pytest.raises(StorageError, match="in use by another server"):
        backups.start("first")
    assert half.is_dir()
    os.close(held)
    assert backups.start("first").state == "running"
    slow.go_on.set()
    ended(backups, "first")
    assert not half.exists()


@pytest.mark.parametrize("how", ["close", "delete"])
def test_one_that_is_given_up_leaves_nothing(backups: Backups, slow: Slow, tmp_path: Path, how: str) -> None:
    backups.start("first")
    assert slow.arrived.wait(PATIENCE_S)
    assert files(tmp_path / "backups") != []
    if how == "close":
        backups.close()
        assert (backups.get("first").state, backups.get("first").problem) == ("failed", "It was stopped.")
        with pytest.raises(NotReadyError):
            backups.start("second")
    else:
        backups.delete("first")
        assert backups.list() == []
    assert files(tmp_path / "backups") == []


def test_one_that_rests_is_given_up_at_once(gallery: Gallery, tmp_path: Path) -> None:
    rests = threading.Event()

    def rest(data_dir: Path, out: Path, copying: Copying, *, names: Sequence[str]) -> Kept:
        rests.set()
        copying.rest(10 * PATIENCE_S)
        return Kept(0, 0, 0)

    backups = Backups(tmp_path / "backups", tmp_path / "data", gallery, make=rest)
    backups.start("first")
    assert rests.wait(PATIENCE_S)
    began = time.monotonic()
    backups.close()
    assert time.monotonic() - began < PATIENCE_S
    assert backups.get("first").problem == "It was stopped."


def test_what_a_crash_left_is_removed_by_the_next(backups: Backups, slow: Slow, tmp_path: Path) -> None:
    slow.go_on.set()
    for name in (".unfinished-x", ".unfinished-y"):
        (tmp_path / "backups" / name / "made" / "collections").mkdir(parents=True)
        (tmp_path / "backups" / name / "lock").touch()
    held = lock(tmp_path / "backups" / ".unfinished-y" / "lock")  # a command's, which runs
    assert backups.list() == []
    backups.start("first")
    ended(backups, "first")
    assert files(tmp_path / "backups") == [".unfinished-y", "first"]
    os.close(held)


def test_one_that_no_thread_can_be_had_for_has_not_begun(backups: Backups, slow: Slow) -> None:
    slow.go_on.set()
    with no_threads(), pytest.raises(RuntimeError, match="thread"):
        backups.start("first")
    assert backups.list() == []
    backups.start("first")
    assert ended(backups, "first").state == "done"


def test_one_that_fails_says_why_until_it_is_deleted(gallery: Gallery, tmp_path: Path) -> None:
    def full(data_dir: Path, out: Path, copying: Copying, *, names: Sequence[str]) -> Kept:
        raise StorageError("There is no space.")

    backups = Backups(tmp_path / "backups", tmp_path / "data", gallery, make=full)
    for n in range(25):
        backups.start(f"b{n:02}")
        assert ended(backups, f"b{n:02}").problem == "There is no space."
    assert [one.name for one in backups.list()] == [f"b{n:02}" for n in range(5, 25)]
    backups.delete("b24")
    with pytest.raises(NotFoundError, match="no backup 'b24'"):
        backups.get("b24")


@pytest.fixture
def kept(backups: Backups, slow: Slow) -> Backups:
    slow.go_on.set()
    backups.start("before")
    assert ended(backups, "before").state == "done"
    return backups


def test_a_collection_is_restored_beside_the_one_that_lives(kept: Backups, gallery: Gallery) -> None:
    people = gallery.get("people")
    people.erase("p3")
    people.upsert(ITEMS[:1])
    restored = kept.restore("before", "people", "people-before")
    assert gallery.get("people-before") is restored
    assert (restored.stats().items, people.stats().items) == (5, 4)
    (found,) = restored.search(np.array([[3, 1]], np.float32), SearchOptions(k=1))
    assert [(one.id, one.identity) for one in found] == [("3", "p3")]  # a backup keeps what was erased later
    restored.upsert([NewItem("new", None, np.array([9, 9], np.float32), {})])
    assert people.get("new") is None
    assert kept.get("before").kept.items == 10


def test_what_cannot_be_restored_leaves_nothing(kept: Backups, gallery: Gallery, tmp_path: Path) -> None:
    refused: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: kept.restore("befor", "people", "x"), NotFoundError, "Did you mean 'before'"),
        (lambda: kept.restore("before", "peple", "x"), NotFoundError, "'peple'. Did you mean 'people'"),
        (lambda: kept.restore("before", "people", "cars"), ConflictError, "a collection 'cars' already"),
        (lambda: kept.restore("before", "people", "../x"), RequestError, "cannot name a collection"),
    ]
    record = tmp_path / "backups" / "before" / "collections" / "people" / "record.sqlite3"
    whole = record.read_bytes()
    for call, error, words in refused:
        with pytest.raises(error, match=words):
            call()
    record.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StorageError, match="damaged or missing: people"):
        kept.restore("before", "people", "x")
    record.unlink()
    with pytest.raises(StorageError, match="No such file"):
        kept.restore("before", "people", "x")
    assert [one.name for one in gallery.list()] == ["cars", "people"]
    assert files(tmp_path / "data" / "collections") == ["cars", "people"]
    record.write_bytes(whole)
    assert kept.restore("before", "people", "x").stats().items == 5


def test_a_name_that_is_being_restored_is_taken(gallery: Gallery) -> None:
    def fill(folder: Path) -> None:
        with pytest.raises(ConflictError, match="'x' is being restored"):
            gallery.create("x", CONFIG)
        with pytest.raises(NotFoundError):
            gallery.get("x")
        assert gallery.create("y", CONFIG)[1]  # nobody else waits
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="full"):
        gallery.adopt("x", fill, Work(1, threading.Event(), lambda done, total: None))
    assert gallery.create("x", CONFIG)[1]


def test_deleted_ones_are_gone(kept: Backups, tmp_path: Path) -> None:
    kept.delete("before")
    assert files(tmp_path / "backups") == []
    with pytest.raises(NotFoundError):
        kept.delete("before")


def test_a_damaged_manifest_is_told_and_can_be_deleted(kept: Backups, tmp_path: Path) -> None:
    (tmp_path / "backups" / "before" / "manifest.json").write_text("[]")
    (tmp_path / "backups" / "other").mkdir()  # no backup
    (one,) = kept.list()
    assert one.state == "failed"
    assert "manifest.json is damaged" in (one.problem or "")
    with pytest.raises(StorageError, match="damaged"):
        kept.restore("before", "people", "x")
    kept.delete("before")
    assert kept.list() == []
