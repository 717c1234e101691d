"""Writes that share a commit: each has its own answer, all or none are on the disk."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.errors import StorageError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.commits import Change, Commits, Operation, merged
from service.gallery.items import prepare
from service.gallery.record_writer import RecordWriter
from service.gallery.schema import Row
from service.gallery.store import Record
from tests.service.gallery.conftest import MakeCollection, MakeItem

CONFIG = CollectionConfig(dimension=2, metric="euclidean")


def row(item_id: str) -> Row:
    return prepare(NewItem(item_id, None, np.ones(2, np.float32), {}), CONFIG)


def put(*item_ids: str) -> Operation:
    rows = [row(name) for name in item_ids]

    def write(writer: RecordWriter) -> Change:
        replaced = writer.replace(rows)
        return Change(list(replaced.before.values()), replaced.labels, np.ones((len(rows), 2), np.float32))

    return write


def put_and_fail(item_id: str, error: Exception, *others: str) -> Operation:
    def write(writer: RecordWriter) -> Change:
        put(item_id, *others)(writer)
        raise error

    return write


def move_and_fail(writer: RecordWriter) -> None:
    writer.move("p", "q", CONFIG)
    put_and_fail("a", ValueError("no"), "c")(writer)


class Group:
    """Holds the first commit until all others wait, so that these are committed together."""

    def __init__(self, record: Record, max_rows: int = 10_000) -> None:
        self.record, self.gate = record, threading.Event()
        self.sizes: list[int] = []
        self.refuse = False
        self.commits = Commits(self._commit, max_rows=max_rows)

    def _commit(self, write: Callable[[RecordWriter], list[Change]]) -> None:
        assert self.gate.wait(30)
        with self.record.writing() as writer:
            changes = write(writer)
            if self.refuse:
                raise StorageError("The disk is full.")
        self.sizes.append(len(changes))

    def run(self, *operations: Operation) -> list[Future[Change]]:
        with ThreadPoolExecutor(len(operations) + 1) as pool:
            first = pool.submit(self.commits.write, put("first"), rows=1)
            wait_until(lambda: self.commits._leading and not self.commits._queue)
            futures = []
            for operation in operations:
                futures.append(pool.submit(self.commits.write, operation, rows=1))
                wait_until(lambda: len(self.commits._queue) == len(futures))
            self.gate.set()
        return [first, *futures]


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if true():
            return
        threading.Event().wait(0.001)
    raise TimeoutError


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record.create(tmp_path / "record.sqlite3", CONFIG)
    yield record
    record.close()


def test_those_that_wait_share_a_commit_in_their_order(record: Record) -> None:
    group = Group(record)
    futures = group.run(put("a"), put("b", "c"), put("a"))
    assert group.sizes == [1, 3]
    assert [list(future.result().labels) for future in futures] == [[1], [2], [3, 4], [5]]
    assert futures[-1].result().removed == [2]
    assert record.labels().tolist() == [1, 3, 4, 5]


def test_a_commit_is_bounded(record: Record) -> None:
    group = Group(record, max_rows=2)
    group.run(*(put(str(i)) for i in range(5)))
    assert group.sizes == [1, 2, 2, 1]
    assert len(record.labels()) == 6


@pytest.mark.parametrize("error", [ValueError("no"), sqlite3.OperationalError("no such column")])
def test_one_that_fails_fails_alone(record: Record, error: Exception) -> None:
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorname = "SQLITE_ERROR"
    group = Group(record)
    _, a, failed, b = group.run(put("a"), put_and_fail("x", error), put("b"))
    assert failed.exception() is error
    assert a.result().labels == [2]
    assert b.result().labels == [3]
    assert record.get("x") is None
    assert [labels.tolist() for labels, _ in record.scan()] == [[1, 2, 3]]


def test_what_one_noted_that_fails_is_forgotten(record: Record) -> None:
    with record.writing() as writer:
        writer.replace([row("a")])
        with writer.alone():
            writer.replace([row("b")])
        noted = list(writer.removed), dict(writer.named), set(writer.forgotten)
        damaged = writer.damaged = {9: ("c", "p"), 10: ("d", "p")}
        with pytest.raises(ValueError, match="no"), writer.alone():
            move_and_fail(writer)
        assert (writer.removed, writer.named, writer.forgotten) == noted
        assert writer.damaged == damaged
        assert writer.named == {1: ("a", None), 2: ("b", None)}


def test_where_the_commit_fails_none_is_written_and_all_hear_of_it(record: Record) -> None:
    group = Group(record)
    group.refuse = True
    futures = group.run(put("a"), put("b"))
    assert all(isinstance(future.exception(), StorageError) for future in futures)
    assert len(record.labels()) == 0
    group.refuse = False
    assert group.commits.write(put("a"), rows=1).labels == [1]


def test_labels_that_came_and_went_are_left_out() -> None:
    changes = [
        Change([3], [10, 11], np.array([[10, 0], [11, 0]], np.float32)),
        Change([10, 4]),
        Change([11], [12], np.array([[12, 0]], np.float32)),
    ]
    removed, labels, vectors = merged(changes, 2)
    assert removed.tolist() == [3, 4]
    assert labels.tolist() == [12]
    assert vectors.tolist() == [[12, 0]]
    assert [part.shape for part in merged([], 2)] == [(0,), (0,), (0, 2)]


def test_threads_that_write_the_same_ids_leave_record_and_index_alike(
    collection: MakeCollection, item: MakeItem
) -> None:
    people = collection()

    def write(thread: int) -> None:
        for i in range(40):
            people.upsert([item(f"{i % 7}", [thread, i])])
            if i % 5 == 0:
                people.delete([f"{(i + thread) % 7}"])
            assert people.upsert([item(f"own-{thread}", [thread, i])])[0].status != "rejected"
            found = people.get(f"own-{thread}", with_vector=True)
            assert found is not None
            assert found.vector is not None
            assert found.vector.tolist() == [thread, i]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    stored = {one.id for one in people.page(limit=100).items}
    (matches,) = people.search(np.zeros((1, 2), np.float32), SearchOptions(k=100, with_vector=True))
    assert {match.id for match in matches} == stored
    assert people.stats().items == len(stored)
    for match in matches:
        assert match.vector is not None
        assert match.distance == pytest.approx(float(np.linalg.norm(match.vector)))
