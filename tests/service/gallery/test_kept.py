"""A record that lost rows stays beside the new one as it was, until an identity is erased."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service.gallery.backups import Copying, back_up
from service.gallery.collection import CollectionConfig
from service.gallery.damage import kept_files
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.gallery import Gallery
from tests.service.gallery.conftest import MakeItem

NAMES = "abcdefg"


@pytest.fixture
def record(item: MakeItem, tmp_path: Path) -> Path:
    """Return the file of a closed collection; `a` is an item of the identity `p-a`."""
    config = CollectionConfig(dimension=2, metric="euclidean")
    with Gallery(tmp_path) as gallery:
        made = gallery.create("people", config)[0]
        made.upsert([item(name, [i, 1], f"p-{name}") for i, name in enumerate(NAMES)])
    return tmp_path / "collections" / "people" / RECORD_FILE


def mended(record: Path, name: str) -> bytes:
    """Damage an item, open and close the collection, and return the file as it was before."""
    with closing(sqlite3.connect(record)) as connection, connection:
        connection.execute("UPDATE items SET metadata = '{}{}' WHERE id = ?", [name])
    before = record.read_bytes()
    EmbeddedCollection(record.parent).close()
    return before


def test_those_that_were_kept_before_stay_and_of_more_than_three_the_newest_is_replaced(
    record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = kept_files(record)
    assert [file.name for file in kept] == [f"{RECORD_FILE}.damaged{end}" for end in ("", ".2", ".3")]
    expected: list[bytes] = []
    for name in "abcde":
        caplog.clear()
        expected = [*expected[:2], mended(record, name)]
        assert [file.read_bytes() for file in kept if file.exists()] == expected
        assert f"kept beside it, as {kept[len(expected) - 1].name}. Delete" in caplog.text
    assert sorted(record.parent.glob("*.damaged*")) == kept
    again = EmbeddedCollection(record.parent)
    assert str(again.stats().integrity.problem).endswith(f"beside it: {', '.join(f.name for f in kept)}.")
    again.close()


def test_where_one_was_removed_its_name_is_taken(record: Path) -> None:
    for name in "abc":
        mended(record, name)
    first, second, third = kept_files(record)
    newest = third.read_bytes()
    first.unlink()
    fourth = mended(record, "d")
    assert (first.read_bytes(), third.read_bytes()) == (fourth, newest)
    oldest = second.read_bytes()
    fifth = mended(record, "e")  # now the first is the newest
    assert [file.read_bytes() for file in kept_files(record)] == [fifth, oldest, newest]


def test_erasing_removes_them_all(record: Path) -> None:
    for name in "abcd":
        assert b"p-a" in mended(record, name)
    again = EmbeddedCollection(record.parent)
    erased = again.erase("p-a")
    assert (erased.deleted, erased.erased) == (1, True)
    assert again.get("a") is None
    assert again.stats().integrity.damaged == ("b", "c", "d")
    assert "kept" not in str(again.stats().integrity.problem)
    again.close()
    assert not any(file.exists() for file in kept_files(record))
    assert not any(b"p-a" in file.read_bytes() for file in record.parent.rglob("*") if file.is_file())


def test_a_backup_has_none_of_them(record: Path, tmp_path: Path) -> None:
    mended(record, "a")
    back_up(tmp_path, tmp_path / "backup", Copying(told=lambda step: None))
    assert [file.name for file in (tmp_path / "backup").rglob("*.sqlite3*")] == [RECORD_FILE]
