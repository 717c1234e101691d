"""A record whose first page is damaged, or what it says of itself: its rows are read all the same."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from service.errors import DamageError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions, StoredItem
from service.gallery.config_copy import config_file
from service.gallery.damage import kept_files
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.index.accelerator import Stopped
from tests.service.gallery.stops import StopAfter

PAGE = 4096
ITEMS = 40
CONFIG = CollectionConfig(
    dimension=2,
    metric="euclidean",
    index_type="flat",
    fields={"n": "integer", "camera": "keyword"},
    keep_images=True,
)
NO_ITEM_WAS_LOST = "is made anew of its rows; no item was lost"

Contents: TypeAlias = dict[str, Any]
Damage: TypeAlias = Callable[[bytearray], None]


def item(i: int) -> NewItem:
    metadata = {"n": i, "camera": f"c{i % 3}", "words": "x" * (6_000 if i % 10 == 2 else 20)}  # or a page
    return NewItem(f"i{i}", f"p{i // 4}", np.array([i, 1], np.float32), metadata, bytes([i]) * 400)


def filled(folder: Path, *, written_anew: bool, config: CollectionConfig = CONFIG) -> Path:
    """Return the folder of a collection that was closed, from which an identity is gone: pages are free."""
    folder.mkdir(parents=True)
    EmbeddedCollection.create(folder, config)
    collection = EmbeddedCollection(folder)
    collection.upsert([item(i) for i in range(ITEMS)])
    if written_anew:
        assert collection.erase("p0").erased
    else:
        collection.delete(["i0", "i1", "i2", "i3"])
    collection.close()
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["as it was made", "written anew"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("whole") / "people", written_anew=request.param)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("made") / "people", written_anew=False)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return copied(made, tmp_path)


def copied(source: Path, tmp_path: Path) -> Path:
    shutil.copytree(source, tmp_path / "people")
    return tmp_path / "people"


def vector_of(one: StoredItem) -> list[float]:
    assert one.vector is not None
    return [float(x) for x in one.vector]


def contents(folder: Path) -> Contents:
    """Open a collection, return all that it holds, and close it."""
    collection = EmbeddedCollection(folder)
    try:
        page = collection.page(limit=100, with_vector=True)
        (found,) = collection.search(np.zeros((1, 2), np.float32), SearchOptions(k=100))
        return {
            "config": collection.config,
            "items": [(one.id, one.identity, one.metadata, vector_of(one)) for one in page.items],
            "pictures": [collection.picture(one.id) for one in page.items],
            "found": [match.id for match in found],
            "identities": collection.identities(limit=100).identities,
            "damaged": [*page.damaged],
            "count": collection.stats().items,
            "state": collection.stats().integrity.state,
        }
    finally:
        collection.close()


def expected(*, without: tuple[int, ...] = ()) -> list[str]:
    return [f"i{i}" for i in range(4, ITEMS) if i not in without]


def change(folder: Path, damage: Damage) -> bytes:
    """Damage the record, and return what is in the file then."""
    data = bytearray((folder / RECORD_FILE).read_bytes())
    damage(data)
    (folder / RECORD_FILE).write_bytes(data)
    return bytes(data)


def put(place: int, *values: int) -> Damage:
    def damage(data: bytearray) -> None:
        assert data[place : place + len(values)] != bytes(values)
        data[place : place + len(values)] = bytes(values)

    return damage


def flip(place: int | bytes, mask: int, behind: int = 0) -> Damage:
    """Return what flips bits of the first page: at a place, or so many bytes behind the start of a text."""

    def damage(data: bytearray) -> None:
        at = data.index(place, 0, PAGE) if isinstance(place, bytes) else place
        data[at + behind] ^= mask

    return damage


def pages(change: int) -> Damage:
    """Return what changes the number of pages."""
    return lambda data: put(28, *(len(data) // PAGE + change).to_bytes(4, "big"))(data)


def zeros(*numbers: int) -> Damage:
    """Return what leaves nothing of some pages, of which the first is 1."""

    def damage(data: bytearray) -> None:
        for number in numbers:
            data[PAGE * (number - 1) : PAGE * number] = bytes(PAGE)

    return damage


def noise(data: bytearray) -> None:
    data[:PAGE] = np.random.default_rng(0).bytes(PAGE)


FIRST_PAGE: dict[str, Damage] = {
    "magic": flip(5, 0x20),
    "a page size that is none": flip(16, 0x04),
    "another page size": put(16, 0x20),
    "written by a later version": flip(18, 1),
    "read by a later version": flip(19, 1),
    "bytes kept free in pages": put(20, 8),
    "share of a page": flip(21, 1),
    "fewer pages": pages(-3),
    "more pages": pages(256),
    "first of the free pages": put(35, 5),
    "format of the schema": flip(47, 0x20),
    "pages of pointers": put(55, 1),
    "another encoding": put(59, 2),
    "kind of the page": flip(100, 0x08),
    "number of entries": flip(104, 1),
    "pointer to an entry": flip(108, 0x04),
    "entry's text": flip(b"CREATE TABLE items", 0x01, 8),
    "entry's name": flip(b"tablemetameta", 0x01, 6),
    "where the items begin, an index": flip(b"CREATE TABLE items", 0x02, -1),
    "where the items begin, another table": flip(b"CREATE TABLE items", 0x01, -1),
    "where an index begins": flip(b"CREATE INDEX items_identity", 0x01, -1),
    "zeros": zeros(1),
    "noise": noise,
}


@pytest.mark.parametrize("damage", FIRST_PAGE)
def test_all_rows_are_read_though_the_first_page_is_damaged(
    whole: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(whole, tmp_path)
    change(folder, FIRST_PAGE[damage])
    found = contents(folder)
    assert NO_ITEM_WAS_LOST in caplog.text
    assert found["state"] == "ok"
    assert sorted(found["found"]) == sorted(expected())
    assert not kept_files(folder / RECORD_FILE)[0].exists()
    assert found == contents(copied(whole, tmp_path / "right"))
    with closing(sqlite3.connect(folder / RECORD_FILE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_row_that_is_damaged_too_is_named_and_the_file_as_it_was_is_kept(folder: Path) -> None:
    with closing(sqlite3.connect(folder / RECORD_FILE)) as connection, connection:
        connection.execute("UPDATE items SET metadata = '{}' WHERE id = 'i9'")
    damaged = change(folder, zeros(1))
    found = contents(folder)
    assert found["found"] == expected(without=(9,))
    assert (found["state"], found["damaged"]) == ("damaged", ["i9"])
    assert kept_files(folder / RECORD_FILE)[0].read_bytes() == damaged


def lengthen(data: bytearray) -> None:
    """Leave what a checkpoint does that ends before it comes to the first page."""
    data += bytes(2 * PAGE)


@pytest.mark.parametrize("numbers", [(), (1,), (1, 2, 3)])
def test_what_a_log_holds_is_brought_in(
    made: Path, tmp_path: Path, numbers: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    collection = EmbeddedCollection(copied(made, tmp_path))
    collection.delete(["i7"])
    crashed = copied(tmp_path / "people", tmp_path / "crashed")  # what a crash would leave now
    collection.close()
    log = (crashed / f"{RECORD_FILE}-wal").read_bytes()
    frames = [log[at : at + 4] for at in range(32, len(log), 24 + PAGE)]
    assert frames
    assert (1).to_bytes(4, "big") not in frames  # or SQLite would read the first page there
    change(crashed, zeros(*numbers) if numbers else lengthen)
    assert contents(crashed)["found"] == expected(without=(7,))
    assert (NO_ITEM_WAS_LOST in caplog.text) == bool(numbers)


@pytest.mark.parametrize("times", [0, 1, 3, 20])
def test_stopped_meanwhile_it_leaves_the_file_as_it_was(folder: Path, times: int) -> None:
    damaged = change(folder, noise)
    with pytest.raises(Stopped):
        EmbeddedCollection(folder, work=StopAfter(times).work)
    assert (folder / RECORD_FILE).read_bytes() == damaged
    assert contents(folder)["found"] == expected()


@pytest.mark.parametrize("numbers", [(2,), (3,), (2, 3), (1, 2, 3)])
def test_what_it_says_of_itself_is_made_anew_of_its_rows_and_the_copy(
    folder: Path, made: Path, tmp_path: Path, numbers: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    change(folder, zeros(*numbers))
    assert contents(folder) == contents(copied(made, tmp_path / "right"))
    assert NO_ITEM_WAS_LOST in caplog.text
    again = EmbeddedCollection(folder)
    assert again.erasing == (2 in numbers)  # whether something was to be wiped yet is not known then
    again.close()


def test_items_that_were_lost_before_may_be_forgotten_and_that_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(folder / RECORD_FILE)) as connection, connection:
        connection.execute("UPDATE items SET metadata = '{}' WHERE id = 'i9'")
    assert contents(folder)["damaged"] == ["i9"]
    damaged = change(folder, zeros(4))
    found = contents(folder)
    assert (found["found"], found["damaged"]) == (expected(without=(9,)), [])
    assert "which items were lost before can no longer be read" in caplog.text
    assert kept_files(folder / RECORD_FILE)[1].read_bytes() == damaged


SPOILT: dict[str, Callable[[Path], object]] = {
    "gone": lambda copy: copy.unlink(),
    "flipped": lambda copy: copy.write_bytes(copy.read_bytes().replace(b"euclidean", b"euclideam")),
    "empty": lambda copy: copy.write_bytes(b""),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_copy_that_is_not_there_or_damaged_is_made_anew_and_without_it_one_is_told_what_to_do(
    folder: Path, made: Path, how: str
) -> None:
    SPOILT[how](config_file(folder / RECORD_FILE))
    damaged = change(folder, zeros(1))
    with pytest.raises(DamageError, match=r"configuration.*config\.json.*Stop the server, move the folder"):
        EmbeddedCollection(folder)
    assert (folder / RECORD_FILE).read_bytes() == damaged
    shutil.copyfile(made / RECORD_FILE, folder / RECORD_FILE)
    assert contents(folder)["found"] == expected()
    change(folder, zeros(1))
    assert contents(folder)["found"] == expected()


def test_a_file_that_is_something_else_is_refused_and_left_alone(folder: Path) -> None:
    something = b"no database" * 5_000
    (folder / RECORD_FILE).write_bytes(something)
    with pytest.raises(DamageError, match=r"first page is damaged.*Stop the server, move the folder"):
        EmbeddedCollection(folder)
    assert (folder / RECORD_FILE).read_bytes() == something


@pytest.mark.parametrize("written_anew", [False, True])
def test_a_schema_longer_than_a_page_is_made_anew(tmp_path: Path, *, written_anew: bool) -> None:
    config = CollectionConfig(
        dimension=2, metric="euclidean", fields={f"f{i}": "integer" for i in range(64)}, keep_images=True
    )
    folder = filled(tmp_path / "people", written_anew=written_anew, config=config)
    before = contents(folder)
    data = change(folder, put(0, 0))
    assert data[100] == 5  # its tree has several pages
    assert contents(folder) == before
    last = int.from_bytes((folder / RECORD_FILE).read_bytes()[108:112], "big")
    change(folder, zeros(last))
    assert contents(folder) == before
