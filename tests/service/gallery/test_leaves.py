"""Rows to which SQLite's tree does not lead, because a page above theirs is damaged: none of them is lost."""

import contextlib
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from service.errors import DamageError
from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.index.accelerator import Stopped
from service.gallery.leaves import leaf_pages
from service.gallery.trees import ID_INDEX
from tests.service.gallery.stops import StopAfter

PAGE = 4096
ITEMS, DIMENSION = 300, 32
CONFIG = CollectionConfig(
    dimension=DIMENSION, metric="euclidean", index_type="flat", fields={"n": "integer"}, keep_images=True
)
VECTORS = np.random.default_rng(0).standard_normal((ITEMS, DIMENSION)).astype(np.float32)
GONE = {"item-number-7", "item-number-8"}  # deleted: whoever finds them has read what nobody was to find

Damage: TypeAlias = Callable[[bytearray], None]


def item(i: int) -> NewItem:
    words = "x" * (9_000 if i % 50 == 3 else 20)  # some are longer than two pages
    return NewItem(
        f"item-number-{i}", f"p{i // 4}", VECTORS[i], {"n": i, "words": words}, bytes([i % 256]) * 100
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "people"
    folder.mkdir()
    EmbeddedCollection.create(folder, CONFIG)
    collection = EmbeddedCollection(folder)
    for first in range(0, ITEMS, 20):
        collection.upsert([item(i) for i in range(first, first + 20)])
    collection.delete(sorted(GONE))
    collection.close()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "people")
    return tmp_path / "people"


def root_of(folder: Path, name: str = "items") -> int:
    """Return where in the file the page begins from which a tree is read; it has pages below it."""
    path = folder / RECORD_FILE
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        start = PAGE * (int(connection.execute(sql, [name]).fetchone()[0]) - 1)
    assert path.read_bytes()[start] == (5 if name in ("items", "pictures") else 2)
    return start


def number(data: bytes, place: int, count: int) -> int:
    return int.from_bytes(data[place : place + count], "big")


def children(folder: Path, name: str = "items") -> list[int]:
    """Return the numbers of the pages below the root of a table."""
    root, data = root_of(folder, name), (folder / RECORD_FILE).read_bytes()
    cells = [root + number(data, root + 12 + 2 * i, 2) for i in range(number(data, root + 3, 2))]
    return [*(number(data, cell, 4) for cell in cells), number(data, root + 8, 4)]


def child_place(folder: Path, i: int) -> int:
    """Return where the pointer to one of them is, within the page."""
    root, data = root_of(folder), (folder / RECORD_FILE).read_bytes()
    return number(data, root + 12 + 2 * i, 2)


def change(folder: Path, damage: Damage) -> bytes:
    data = bytearray((folder / RECORD_FILE).read_bytes())
    before = bytes(data)
    damage(data)
    assert data != before
    (folder / RECORD_FILE).write_bytes(data)
    return bytes(data)


def flip(place: int, mask: int) -> Damage:
    def damage(data: bytearray) -> None:
        data[place] ^= mask

    return damage


def put(place: int, values: bytes) -> Damage:
    def damage(data: bytearray) -> None:
        data[place : place + len(values)] = values

    return damage


def assert_holds(folder: Path, lost: set[str]) -> None:
    """Open a collection: it has all as they were, with their pictures, but for those that are lost."""
    collection = EmbeddedCollection(folder)
    try:
        page = collection.page(limit=1_000, with_vector=True)
        kept = [i for i in range(ITEMS) if f"item-number-{i}" not in lost | GONE]
        assert [one.id for one in page.items] == [f"item-number-{i}" for i in kept]
        for one, i in zip(page.items, kept, strict=True):
            assert (one.identity, one.metadata) == (item(i).identity, item(i).metadata)
            assert one.vector is not None
            assert one.vector.tobytes() == VECTORS[i].tobytes()
            assert i % 10 or collection.picture(one.id) == item(i).picture
        assert {*page.damaged} == lost
        assert collection.stats().items == len(kept)
    finally:
        collection.close()


PLACES: dict[str, tuple[int, int]] = {  # within the root page, and what is flipped there
    "another kind of page": (0, 0x08),
    "no kind of page": (0, 0x40),
    "free bytes in it": (1, 0x10),
    "other cells": (4, 0x02),
    "more cells": (4, 0x40),
    "far more cells": (3, 0x80),
    "where cells begin": (5, 0x20),
    "right pointer, out of the file": (8, 0x40),
    "right pointer, elsewhere": (11, 0x01),
    "right pointer, further": (11, 0x04),
    "pointer to a cell": (12, 0x08),
    "pointer to the last byte of a cell": (17, 0x04),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_byte_of_the_page_at_the_root_loses_nothing(
    folder: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    at, mask = PLACES[place]
    change(folder, flip(root_of(folder) + at, mask))
    assert_holds(folder, set())
    assert "no item was lost" in caplog.text


@pytest.mark.parametrize("mask", [0x01, 0x02, 0x04, 0x10, 0x80])
def test_a_pointer_to_another_page_loses_nothing(folder: Path, mask: int) -> None:
    change(folder, flip(root_of(folder) + child_place(folder, 5) + 3, mask))
    assert_holds(folder, set())


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x40])
def test_a_flipped_label_that_divides_two_pages_loses_nothing_and_ends_the_check(
    folder: Path, mask: int
) -> None:
    change(folder, flip(root_of(folder) + child_place(folder, 8) + 5, mask))
    assert_holds(folder, set())


def entry(folder: Path) -> int:
    """Return where an identity's name is in their index, behind its type and its label's."""
    found = re.search(rb"(?<=\x13[\x01\x02])p40", (folder / RECORD_FILE).read_bytes())
    assert found is not None
    return found.start()


@pytest.mark.parametrize(
    ("place", "mask", "listed", "limit"),
    [
        *((lambda f: root_of(f) + child_place(f, 8) + 5, mask, "page", 7) for mask in (0x01, 0x10, 0x40)),
        (lambda f: root_of(f) + child_place(f, 5) + 3, 0x02, "page", 2),  # to a page of earlier items
        (entry, 0x10, "identities", 37),  # it is the last of a page
        (lambda f: entry(f) - 2, 0x01, "identities", 1),  # bytes, which come after all text
    ],
)
def test_pages_of_a_record_that_is_not_checked_yet_come_to_an_end(
    folder: Path,
    place: Callable[[Path], int],
    mask: int,
    listed: str,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(folder, flip(place(folder), mask))
    monkeypatch.setattr("service.gallery.opened._CHECKED_BYTES", 0)  # as a large one
    collection = EmbeddedCollection(folder)
    cursor, pages = None, 0
    with contextlib.suppress(DamageError):
        while pages == 0 or (cursor is not None and pages <= ITEMS):
            cursor, pages = getattr(collection, listed)(limit=limit, cursor=cursor).cursor, pages + 1
            assert isinstance(cursor, str | None)
    collection.close()
    assert pages < ITEMS


def test_a_pointer_to_a_page_of_pictures_of_the_same_labels_loses_nothing(folder: Path) -> None:
    pictures = children(folder, "pictures")[1]
    change(folder, put(root_of(folder) + child_place(folder, 3), pictures.to_bytes(4, "big")))
    assert_holds(folder, set())


def test_fewer_pointers_than_there_were_lose_nothing(folder: Path) -> None:
    root, count = root_of(folder), len(children(folder)) - 1
    change(folder, put(root + 3, (count - 3).to_bytes(2, "big")))
    assert_holds(folder, set())


def test_a_page_of_pointers_that_is_wiped_loses_nothing(folder: Path) -> None:
    change(folder, put(root_of(folder), bytes(PAGE)))
    assert_holds(folder, set())


@pytest.mark.parametrize("place", [0, 4, 8, 12])
def test_a_flipped_byte_at_the_root_of_the_index_of_ids_loses_nothing(folder: Path, place: int) -> None:
    change(folder, flip(root_of(folder, ID_INDEX) + place, 0x04))
    assert_holds(folder, set())


def test_where_the_index_of_ids_cannot_be_read_either_nothing_is_lost(folder: Path) -> None:
    change(folder, flip(root_of(folder) + 4, 0x02))
    change(folder, put(root_of(folder, ID_INDEX), b"\0"))
    assert_holds(folder, set())


def rows_on(whole: Path, page: int) -> set[str]:
    """Return the ids of the rows that begin on a page of the table, as their labels and SQLite have it."""
    data = (whole / RECORD_FILE).read_bytes()[PAGE * (page - 1) : PAGE * page]
    with closing(sqlite3.connect(whole / RECORD_FILE)) as connection:
        rows = connection.execute("SELECT id, identity FROM items").fetchall()
    return {item_id for item_id, identity in rows if f"{item_id}{identity}{{".encode() in data}


@pytest.mark.parametrize("root", [None, 0, 4])
def test_a_page_of_rows_that_is_wiped_loses_these_and_names_them(
    folder: Path, whole: Path, root: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    page = children(folder)[4]
    lost = rows_on(whole, page)
    assert 5 < len(lost) < 30
    damage = put(PAGE * (page - 1), bytes(PAGE))
    if root is not None:
        change(folder, flip(root_of(folder) + root, 0x02))
    change(folder, damage)
    assert_holds(folder, lost)
    assert f"{len(lost)} items are lost" in caplog.text


def test_pages_are_not_looked_at_where_the_tree_leads_to_the_damaged_row(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(folder / RECORD_FILE)) as connection, connection:
        connection.execute("UPDATE items SET created_us = 5 WHERE id = 'item-number-9'")
    assert_holds(folder, {"item-number-9"})
    assert "all pages are looked at" not in caplog.text


def test_a_row_that_lies_in_a_page_but_was_deleted_stays_so(folder: Path, whole: Path) -> None:
    """As where a tool that does not wipe what it frees has written to the file."""
    first = (whole / RECORD_FILE).read_bytes()[PAGE * (children(folder)[0] - 1) :][:PAGE]
    collection = EmbeddedCollection(folder)
    deleted = {f"item-number-{i}" for i in range(40)}
    collection.delete(sorted(deleted - GONE))
    collection.close()
    data = (folder / RECORD_FILE).read_bytes()
    free = number(data, 32, 4)  # the first of the free pages
    free = number(data, PAGE * (free - 1) + 8, 4)  # and the first that it names
    change(folder, put(PAGE * (free - 1), first))
    assert free in leaf_pages(folder / RECORD_FILE, PAGE)
    change(folder, flip(root_of(folder) + 4, 0x02))
    again = EmbeddedCollection(folder)
    assert again.stats().items == ITEMS - 40
    assert all(again.get(one) is None for one in deleted)
    again.close()


@pytest.mark.parametrize("beyond", [1, 5, 20])
def test_stopped_while_pages_are_read_it_leaves_the_file_as_it_was(folder: Path, beyond: int) -> None:
    damaged = change(folder, put(root_of(folder), bytes(PAGE)))
    times = ITEMS - len(GONE) + beyond  # it asks once a row before it comes to the pages
    with pytest.raises(Stopped):
        EmbeddedCollection(folder, work=StopAfter(times).work)
    assert (folder / RECORD_FILE).read_bytes() == damaged
    assert_holds(folder, set())


def test_rows_that_neither_pages_nor_indexes_have_are_not_passed_over(folder: Path) -> None:
    page = children(folder)[4]
    change(folder, put(PAGE * (page - 1), bytes(PAGE)))
    change(folder, put(root_of(folder, ID_INDEX), b"\0"))
    with pytest.raises(DamageError, match="items that can be read, and 298 were written"):
        EmbeddedCollection(folder)
