"""Checks, mending and opening end within a moment once somebody wants it, and leave all as it was."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import CollectionDroppedError
from service.gallery.checking import Checker
from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.index.accelerator import Stopped
from service.gallery.mending import mend
from service.gallery.scrubbing import Scrubbing
from service.gallery.stoppable import stoppable
from tests.service.gallery.conftest import MakeCollection
from tests.service.gallery.stops import StopAfter

CONFIG = CollectionConfig(dimension=2, metric="euclidean")
MANY = 200
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
PATIENCE_S = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a collection, closed, whose row `7` is damaged."""
    folder = tmp_path / "people"
    folder.mkdir()
    EmbeddedCollection.create(folder, CONFIG)
    collection = EmbeddedCollection(folder)
    collection.upsert([NewItem(str(n), None, np.array([n, 1], np.float32), {}) for n in range(MANY)])
    collection.close()
    connection = sqlite3.connect(folder / RECORD_FILE)
    connection.execute("UPDATE items SET metadata = '{1}' WHERE id = '7'")
    connection.commit()
    connection.close()
    return folder


@pytest.fixture
def people(collection: MakeCollection) -> EmbeddedCollection:
    return collection()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    yield connection
    connection.close()


def test_a_statement_ends_soon_after_somebody_wants_it(connection: sqlite3.Connection) -> None:
    began = time.monotonic()
    with pytest.raises(Stopped), stoppable(StopAfter(3).work.go_on, connection):
        connection.execute(FOREVER).fetchone()
    assert time.monotonic() - began < PATIENCE_S
    assert connection.execute("SELECT 1").fetchone() == (1,)  # what comes after is not ended


def test_a_statement_ends_though_it_began_after_somebody_wanted_it(connection: sqlite3.Connection) -> None:
    asked = threading.Event()

    def go_on() -> None:
        if threading.current_thread() is not threading.main_thread():
            asked.set()
            raise Stopped

    def late() -> None:
        with stoppable(go_on, connection):
            assert asked.wait(PATIENCE_S)
            connection.execute(FOREVER).fetchone()

    with pytest.raises(Stopped):
        late()


def test_what_sqlite_says_by_itself_is_not_lost(connection: sqlite3.Connection) -> None:
    with (
        pytest.raises(sqlite3.OperationalError, match="no such table"),
        stoppable(lambda: None, connection),
    ):
        connection.execute("SELECT * FROM nowhere")


@pytest.mark.parametrize("times", [0, 1, 3, 4, 20, MANY])
def test_opening_a_damaged_one_is_stopped_while_it_is_checked_or_mended(folder: Path, times: int) -> None:
    before = (folder / RECORD_FILE).read_bytes()
    with pytest.raises(Stopped):
        EmbeddedCollection(folder, work=StopAfter(times).work)
    assert (folder / RECORD_FILE).read_bytes() == before
    assert [path.name for path in folder.iterdir() if "mended" in path.name] == []
    resumed = EmbeddedCollection(folder)
    assert resumed.stats().integrity.damaged == ("7",)
    assert resumed.stats().items == MANY - 1
    resumed.close()


def test_mending_asks_before_each_row(folder: Path) -> None:
    asked: list[int] = []
    mend(folder / RECORD_FILE, lambda: asked.append(1))
    assert len(asked) >= MANY


@pytest.mark.parametrize("check", [Checker.structure, Checker.reindex])
def test_a_check_ends_where_the_collection_is_dropped(
    people: EmbeddedCollection, check: Callable[[Checker, Callable[[], None]], object]
) -> None:
    dropping = threading.Thread(target=people.retire)

    def drop() -> None:
        if not dropping.ident:
            dropping.start()
        wait_until(lambda: people._record._database._state == "dropped")

    with pytest.raises(CollectionDroppedError):
        check(people._record.checker, drop)
    dropping.join(PATIENCE_S)
    assert not dropping.is_alive()


def test_a_drop_waits_for_no_writer_that_waits_for_a_check(people: EmbeddedCollection) -> None:
    dropping = threading.Thread(target=people.retire)
    refused: list[Exception] = []

    def write() -> None:
        try:
            people.upsert([NewItem("a", None, np.ones(2, np.float32), {})])
        except CollectionDroppedError as error:
            refused.append(error)

    writing = threading.Thread(target=write)

    def drop() -> None:
        if not writing.ident:
            writing.start()
            wait_until(people._write_turn.locked)
            dropping.start()
        wait_until(lambda: people._record._database._state == "dropped")

    with pytest.raises(CollectionDroppedError):
        people._record.checker.reindex(drop)
    for thread in (writing, dropping):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert len(refused) == 1


def test_reading_the_labels_ends_where_it_is_told_to(people: EmbeddedCollection) -> None:
    people.upsert([NewItem("a", None, np.ones(2, np.float32), {})])
    with pytest.raises(Stopped):
        people._record.labels(StopAfter(0).work.go_on)
    assert people._record.labels(StopAfter(9).work.go_on).tolist() == [1]


def test_once_it_is_to_stop_no_collection_is_checked_any_more(people: EmbeddedCollection) -> None:
    (connection,) = people._record._database._idle
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    begun = threading.Event()

    def collections() -> Iterator[EmbeddedCollection]:
        assert begun.wait(PATIENCE_S)
        wait_until(scrubbing._stop.is_set)
        yield people
        yield people

    scrubbing = Scrubbing(collections, every_s=0)
    closing = threading.Thread(target=scrubbing.close)
    closing.start()
    begun.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert statements == []


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)
