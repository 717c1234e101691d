"""Damage while a collection is served, and a server of which one collection cannot be opened."""

import logging
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from service.errors import DamageError, StorageError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.gallery import Gallery
from service.gallery.index.accelerator import Stopped
from service.gallery.sqlite import WAL_BYTES
from tests.service.gallery.conftest import MakeCollection, MakeItem

CONFIG = CollectionConfig(dimension=2, metric="euclidean")
QUERY = np.zeros((1, 2), np.float32)
PATIENCE_S = 30


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def found(collection: EmbeddedCollection) -> list[str]:
    (matches,) = collection.search(QUERY, SearchOptions(k=100))
    return [match.id for match in matches]


@pytest.fixture
def people(collection: MakeCollection, item: MakeItem) -> EmbeddedCollection:
    made = collection(fields={"camera": "keyword"})
    made.upsert([item(name, [i, 1], f"p-{name}", camera="c1") for i, name in enumerate("abc")])
    return made


def test_a_damaged_row_is_left_out_at_the_start_and_named_until_it_is_replaced(
    people: EmbeddedCollection,
    collection: MakeCollection,
    item: MakeItem,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    people.close()
    change(tmp_path / "people" / RECORD_FILE, "UPDATE items SET vector = x'000080BF00000040' WHERE id = 'b'")
    again = collection()
    assert "'b' (label 2)" in caplog.text
    integrity = again.stats().integrity
    assert (integrity.state, integrity.damaged, integrity.damaged_items) == ("damaged", ("b",), 1)
    assert str(integrity.problem).endswith(f"as it was is kept beside it: {RECORD_FILE}.damaged.")
    assert found(again) == ["a", "c"]
    with pytest.raises(DamageError, match=r"item 'b'.*damaged.*delete it.*backup"):
        again.get("b")
    page = again.page(limit=10)
    assert ([one.id for one in page.items], [*page.damaged]) == (["a", "c"], ["b"])
    assert [*again.page(limit=10, identity="p-b").damaged] == ["b"]
    assert [*again.page(limit=10, cursor="2").damaged] == []
    again.close()
    still = collection()  # it is still named, and the file as it was is still there
    assert still.stats().integrity.damaged == ("b",)
    assert (tmp_path / "people" / f"{RECORD_FILE}.damaged").exists()
    assert still.upsert([item("b", [1, 1])])[0].status == "created"
    assert found(still) == ["a", "b", "c"]
    assert still.stats().integrity.state == "ok"


def test_names_that_are_damaged_are_no_answer_and_the_others_are(
    people: EmbeddedCollection, collection: MakeCollection, tmp_path: Path
) -> None:
    people.close()
    again = collection()  # what was written is remembered, and what was opened is read
    change(tmp_path / "people" / RECORD_FILE, "UPDATE items SET identity = 'q-b' WHERE id = 'b'")
    assert found(again) == ["a", "c"]
    assert again.stats().integrity.damaged == ("b",)


def test_a_row_damaged_while_it_is_served_is_found_and_mended_at_the_next_start(
    people: EmbeddedCollection, collection: MakeCollection, tmp_path: Path
) -> None:
    change(tmp_path / "people" / RECORD_FILE, "UPDATE items SET metadata = '{}' WHERE id = 'b'")
    people.scrub.run(threading.Event())
    integrity = people.stats().integrity
    assert (integrity.state, integrity.damaged, integrity.rows_checked) == ("damaged", ("b",), 3)
    people.close()
    assert (tmp_path / "people" / "check-at-start").exists()
    assert found(collection()) == ["a", "c"]
    assert not (tmp_path / "people" / "check-at-start").exists()


def test_an_index_of_sqlite_that_is_damaged_is_made_anew_while_it_is_served(
    people: EmbeddedCollection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "people" / RECORD_FILE
    (page,) = (
        sqlite3.connect(path)
        .execute("SELECT rootpage FROM sqlite_master WHERE name = 'items_field_0'")
        .fetchone()
    )
    assert people._record.checkpoint()
    data = path.read_bytes()
    at = data.index(b"c1", 4096 * (page - 1), 4096 * page)
    with path.open("r+b") as file:
        file.seek(at + 1)
        file.write(b"2")
    options = SearchOptions(k=10, filter=parse_filter({"camera": "c1"}))
    people._record._database._idle.clear()  # pages that a connection remembers are right
    assert len(people.search(QUERY, options)[0]) == 2
    people.scrub.run(threading.Event())
    assert "indexes were damaged, and are made anew" in caplog.text
    assert len(people.search(QUERY, options)[0]) == 3
    assert people.stats().integrity.state == "ok"


def test_a_large_record_is_checked_later_and_mended_where_its_index_cannot_be_loaded(
    people: EmbeddedCollection, collection: MakeCollection, item: MakeItem, tmp_path: Path
) -> None:
    long = "x" * 60_000
    for first in range(0, 600, 100):
        people.upsert([item(f"i{first + i}", [i, 1], None, text=long) for i in range(100)])
    people.close()
    again = collection()
    assert again.stats().integrity.state == "unchecked"
    again.scrub.run(threading.Event())
    assert (again.stats().integrity.state, again.stats().integrity.rows_checked) == ("ok", 603)
    again.close()
    change(tmp_path / "people" / RECORD_FILE, "UPDATE items SET vector = x'000080BF00000040' WHERE id = 'i7'")
    mended = collection()
    assert mended.stats().items == 602
    assert mended.stats().integrity.damaged == ("i7",)
    assert mended.delete(["i7"]) == 1


def test_a_check_ends_where_it_is_told_to(people: EmbeddedCollection) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        people.scrub.run(stop)


def test_the_log_is_emptied_though_somebody_reads_always(people: EmbeddedCollection, item: MakeItem) -> None:
    database = people._record._database
    long = "x" * 60_000
    with database.reading() as connection:
        connection.execute("SELECT count(*) FROM items").fetchone()
        number = 0
        while database.wal_bytes() <= WAL_BYTES:
            people.upsert([item(f"{number}-{i}", [i, 1], None, text=long) for i in range(100)])
            number += 1
        database.shorten_log()
        assert database.wal_bytes() > WAL_BYTES
    people.seal()
    assert database.wal_bytes() > WAL_BYTES  # it was tried a moment ago
    database._shorten_next_s = 0.0  # as if seconds had passed
    people.seal()
    assert database.wal_bytes() == 0


def test_a_collection_that_cannot_be_opened_is_said_and_the_others_are_served(tmp_path: Path) -> None:
    with Gallery(tmp_path) as gallery:
        for name in ("cars", "people"):
            gallery.create(name, CONFIG)[0].upsert([NewItem("a", None, np.ones(2, np.float32), {})])
    record = tmp_path / "collections" / "cars" / RECORD_FILE
    record.write_bytes(b"no database" * 1000)
    with Gallery(tmp_path) as gallery:
        assert [one.name for one in gallery.list()] == ["people"]
        assert [one.id for one in gallery.get("people").page(limit=5).items] == ["a"]
        assert "Stop the server" in str(gallery.unopened()["cars"])
        for use in (lambda: gallery.get("cars"), lambda: gallery.create("cars", CONFIG)):
            with pytest.raises(StorageError, match=r"'cars' could not be opened.*backup"):
                use()
        assert record.read_bytes() == b"no database" * 1000
        assert gallery.drop("cars") == 0
        assert gallery.create("cars", CONFIG)[1]


def test_collections_are_checked_in_the_background(
    people: EmbeddedCollection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people.close()
    (tmp_path / "collections").mkdir()
    (tmp_path / "people").rename(tmp_path / "collections" / "people")
    with caplog.at_level(logging.INFO), Gallery(tmp_path, scrub_hours=1e-9) as gallery:
        one = gallery.get("people")
        before = one.stats().integrity.checked_s
        assert before is not None
        deadline = time.monotonic() + PATIENCE_S
        while (checked := one.stats().integrity).checked_s == before:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        assert checked.checked_s is not None
        assert checked.checked_s > before
        assert (checked.state, checked.rows_checked) == ("ok", 3)
