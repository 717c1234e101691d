"""Small pictures beside items: they go where their item goes."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import StorageError
from service.gallery.collection import NewItem
from service.gallery.pictures import move_pictures, read_picture
from tests.service.gallery.conftest import MakeCollection


def kept(item_id: str, picture: bytes | None, identity: str = "p") -> NewItem:
    return NewItem(item_id, identity, np.ones(2, dtype=np.float32), {}, picture)


def pictures_in(folder: Path) -> int:
    with sqlite3.connect(folder / "record.sqlite3") as connection:
        return int(connection.execute("SELECT count(*) FROM pictures").fetchone()[0])


def test_pictures_are_there_after_a_restart_and_only_where_given(collection: MakeCollection) -> None:
    people = collection(keep_images=True)
    people.upsert([kept("a", b"A" * 9000), kept("b", None), kept("c", b"")])
    people.close()
    people = collection()
    assert people.picture("a") == b"A" * 9000
    assert people.picture("b") is None
    assert people.picture("c") == b""
    assert people.picture("absent") is None
    assert people.picture("a/b") is None


def test_pictures_are_replaced_and_deleted_with_their_items(
    collection: MakeCollection, tmp_path: Path
) -> None:
    people = collection(keep_images=True)
    people.upsert([kept(name, name.encode()) for name in "abcd"])
    people.upsert([kept("a", b"new"), kept("b", None)])
    people.delete(["c"])
    assert [people.picture(name) for name in "abcd"] == [b"new", None, None, b"d"]
    assert pictures_in(tmp_path / "people") == 2


def test_an_id_that_comes_twice_keeps_the_later_picture(collection: MakeCollection) -> None:
    people = collection(keep_images=True)
    people.upsert([kept("a", b"1"), kept("a", b"2")])
    assert people.picture("a") == b"2"


def test_a_collection_that_keeps_none_stores_none(collection: MakeCollection, tmp_path: Path) -> None:
    people = collection()
    people.upsert([kept("a", b"PICTURE-BYTES" * 100)])
    assert people.picture("a") is None
    people.close()
    assert b"PICTURE-BYTES" not in (tmp_path / "people" / "record.sqlite3").read_bytes()


def test_the_bytes_of_a_deleted_picture_are_overwritten(collection: MakeCollection, tmp_path: Path) -> None:
    people = collection(keep_images=True)
    people.upsert([kept("a", b"PICTURE-BYTES" * 1000)])
    people.delete(["a"])
    people.close()
    for file in (tmp_path / "people").iterdir():
        assert b"PICTURE-BYTES" not in file.read_bytes(), file


def test_a_damaged_picture_is_told_of_and_no_other(collection: MakeCollection, tmp_path: Path) -> None:
    people = collection(keep_images=True)
    people.upsert([kept("a", b"PICTURE-A" * 50), kept("b", b"PICTURE-B" * 50)])
    people.close()
    path = tmp_path / "people" / "record.sqlite3"
    content = bytearray(path.read_bytes())
    content[content.index(b"PICTURE-A") + 3] ^= 1
    path.write_bytes(content)
    people = collection()
    with pytest.raises(StorageError, match="picture of the item 'a'"):
        people.picture("a")
    assert people.picture("b") == b"PICTURE-B" * 50
    assert people.get("a") is not None


def test_pictures_move_with_rows_that_are_written_anew(collection: MakeCollection, tmp_path: Path) -> None:
    people = collection(keep_images=True)
    people.upsert([kept("a", b"A"), kept("b", b"B"), kept("c", None)])
    people.close()
    connection = sqlite3.connect(tmp_path / "people" / "record.sqlite3")
    columns = "id, checksum, name_checksum, identity, metadata, created_us, pictured, vector"
    renamed = columns.replace("id, checksum", "id || 'x', checksum", 1)

    def labels(names: list[str]) -> list[Any]:
        marks = ", ".join("?" * len(names))
        found = connection.execute(f"SELECT label FROM items WHERE id IN ({marks}) ORDER BY id", names)
        return [label for (label,) in found]

    connection.execute(f"INSERT INTO items ({columns}) SELECT {renamed} FROM items WHERE id IN ('a', 'c')")
    move_pictures(connection, dict(zip(labels(["a", "c"]), labels(["ax", "cx"]), strict=True)))
    connection.execute("DELETE FROM items WHERE id IN ('a', 'c')")
    assert [read_picture(connection, name) for name in ("ax", "b", "cx", "a")] == [b"A", b"B", None, None]
    connection.close()
