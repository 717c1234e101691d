"""Erasing where the disk refuses, somebody reads, or the server is about to stop."""

import threading
from pathlib import Path

import pytest

from service.gallery.damage import kept_files
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from tests.service.gallery.conftest import MakeCollection, MakeItem


@pytest.fixture
def people(collection: MakeCollection, item: MakeItem) -> EmbeddedCollection:
    made = collection()
    made.upsert([item(name, [i, 1], f"p-{name}") for i, name in enumerate("abc")])
    return made


@pytest.mark.parametrize("number", range(3))
def test_what_is_deleted_is_answered_though_the_disk_refuses_to_erase_it(
    people: EmbeddedCollection, tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    kept = kept_files(tmp_path / "people" / RECORD_FILE)[number]
    kept.mkdir()  # which cannot be unlinked
    erased = people.erase("p-b")
    assert (erased.deleted, erased.erased) == (1, False)
    assert "is wiped later" in caplog.text
    assert people.get("b") is None
    again = people.erase("p-b")
    assert (again.deleted, again.erased) == (0, False)
    kept.rmdir()
    people.seal()
    assert not people.erasing
    assert people.erase("p-b").erased


def test_pages_are_written_anew_once_however_often_a_reader_is_in_the_way(people: EmbeddedCollection) -> None:
    database = people._record._database
    with database.reading() as connection:
        connection.execute("SELECT count(*) FROM items").fetchone()
        assert not people.erase("p-b").erased
        length = database.wal_bytes()
        assert length > 0
        people.seal()
        assert people.erasing
        assert database.wal_bytes() == length
    people.seal()
    assert not people.erasing
    assert database.wal_bytes() > 0  # the note that it is done


def test_nothing_is_wiped_by_who_is_told_to_stop(
    people: EmbeddedCollection, collection: MakeCollection
) -> None:
    database = people._record._database
    with database.reading() as connection:
        connection.execute("SELECT count(*) FROM items").fetchone()
        assert not people.erase("p-b").erased
    stop = threading.Event()
    stop.set()
    people.seal(stop=stop)
    assert people.erasing
    people.close()
    again = collection()
    assert again.erasing
    again.seal()
    assert not again.erasing
