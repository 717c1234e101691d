"""Items that are damaged while they are served: left out, named, and gone when they are deleted."""

import dataclasses
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import DamagedItemError, DamageError
from service.gallery.collection import SearchOptions
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.identities import Merged
from tests.service.gallery.conftest import MakeCollection, MakeItem

QUERY = np.zeros((1, 2), np.float32)
FAR = 2_000


def damage(folder: Path, column: str = "metadata", item_id: str = "b", text: str = "[]") -> None:
    """Change a row behind the record's back."""
    connection = sqlite3.connect(folder / "people" / RECORD_FILE)
    connection.execute(f"UPDATE items SET {column} = ? WHERE id = ?", [text, item_id])
    connection.commit()
    connection.close()


def found(collection: EmbeddedCollection, **options: Any) -> list[str]:
    (matches,) = collection.search(QUERY, SearchOptions(k=9, **options))
    return [match.id for match in matches if match.id in "abc"]


def listed(collection: EmbeddedCollection, **query: Any) -> tuple[list[str], list[str | None]]:
    page = collection.page(limit=10, **query)
    return [item.id for item in page.items if item.id in "abc"], [*page.damaged]


def scrub(collection: EmbeddedCollection) -> list[str]:
    collection.scrub.run(threading.Event())
    return found(collection)


@pytest.fixture
def kind() -> str:
    return "flat"


@pytest.fixture
def people(collection: MakeCollection, item: MakeItem, kind: str) -> EmbeddedCollection:
    made = collection(fields={"camera": "keyword"}, index_type=kind)
    made.upsert([item(name, [i, 1], f"p-{name}", camera="c1") for i, name in enumerate("abc")])
    if kind != "flat":  # enough to be sealed, far away
        made.upsert([item(f"far-{n}", [1000 + n, 1], camera="c2") for n in range(FAR)])
    return made


def asked(collection: EmbeddedCollection) -> list[str]:
    with pytest.raises(DamagedItemError):
        collection.get("b")
    return found(collection)


READS: dict[str, Callable[[EmbeddedCollection], list[str]]] = {
    "metadata": lambda people: found(people, with_metadata=True),
    "page": lambda people: listed(people)[0],
    "draw": lambda people: sorted({item.id for item in people.draw(3_000, seed=1)} & {*"abc"}),
    "scrub": scrub,
    "id": asked,
}


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("read", READS)
def test_whoever_finds_one_gets_the_others_and_so_does_everybody_after(
    people: EmbeddedCollection, collection: MakeCollection, tmp_path: Path, read: str, kind: str
) -> None:
    assert people.seal() == (kind == "hnsw")
    damage(tmp_path)
    assert READS[read](people) == ["a", "c"]
    everybody: list[dict[str, Any]] = [
        {},
        {"filter": parse_filter({"camera": "c1"})},
        {"filter": parse_filter({"other": {"exists": False}})},
        {"group_by": "identity"},
        {"with_vector": True, "max_distance": 100},
    ]
    for options in everybody:
        assert found(people, **options) == ["a", "c"], options
    assert listed(people) == (["a", "c"], ["b"])
    assert listed(people, identity="p-a") == (["a"], ["b"])  # whose it is, is not known
    assert people.identity("p-b") is None
    assert [one.name for one in people.identities(limit=9).identities] == ["p-a", "p-c"]
    assert people.stats().items == (2 if kind == "flat" else 2 + FAR)
    assert people.stats().integrity.damaged == ("b",)
    with pytest.raises(DamagedItemError, match=r"item 'b'.*delete it.*lookalike restore") as told:
        people.get("b")
    assert (told.value.item_id, told.value.label) == ("b", 2)
    assert (tmp_path / "people" / "check-at-start").exists()
    people.close()
    again = collection()  # a start mends it
    assert (found(again), again.stats().integrity.damaged) == (["a", "c"], ("b",))


def test_metadata_that_is_no_json_any_more_ends_no_filter(people: EmbeddedCollection, tmp_path: Path) -> None:
    damage(tmp_path, text="{1}")
    assert {"a", "c"} <= {*found(people, filter=parse_filter({"other": {"exists": False}}))}
    assert people.delete_where(parse_filter({"other": 1})) == 0
    assert found(people, with_metadata=True) == ["a", "c"]


def test_the_false_id_of_a_damaged_row_may_be_deleted_and_enrolled(
    collection: MakeCollection, item: MakeItem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row stays, and the index of ids has it under the right one: nothing may count it again."""
    people = collection()
    people.upsert([item(name, [i, 1], mark="m") for i, name in enumerate(["aaaa", "bbbb", "cccc"])])
    people.upsert([item(f"far-{n}", [1000 + n, 1]) for n in range(FAR)])  # enough to be sealed
    assert people.seal()
    people.close()
    path = tmp_path / "people" / RECORD_FILE
    pages = bytearray(path.read_bytes())
    (row,) = (found.start() for found in re.finditer(rb"bbbb(?=.{0,99}mark)", pages, re.DOTALL))
    pages[row + 3] ^= 1
    path.write_bytes(pages)
    monkeypatch.setattr("service.gallery.opened._CHECKED_BYTES", 0)  # as a large one
    again = collection()
    by_mark = SearchOptions(filter=parse_filter({"mark": "m"}), with_metadata=True)

    def marked() -> list[str]:
        return [match.id for match in again.search(QUERY, by_mark)[0]]

    assert marked() == ["aaaa", "cccc"]
    assert again.stats().integrity.damaged == ("bbbc",)
    assert again.delete(["bbbc"]) == 0
    assert marked() == ["aaaa", "cccc"]
    assert [one.status for one in again.upsert([item("bbbc", [1, 1], mark="m")])] == ["created"]
    assert marked() == ["aaaa", "bbbc", "cccc"]


WAYS: dict[str, Callable[[EmbeddedCollection, MakeItem], object]] = {
    "id": lambda people, item: people.delete(["b"]),
    "filter": lambda people, item: people.delete_where(parse_filter({"id": "b"})),
    "identity": lambda people, item: people.erase("p-b").deleted,
    "written anew": lambda people, item: [one.status for one in people.upsert([item("b", [1, 1])])],
}


@pytest.mark.parametrize("way", WAYS)
def test_one_that_is_deleted_or_written_anew_is_damaged_no_more(
    people: EmbeddedCollection, collection: MakeCollection, item: MakeItem, tmp_path: Path, way: str
) -> None:
    damage(tmp_path)
    assert scrub(people) == ["a", "c"]
    assert people.stats().integrity.damaged == ("b",)
    anew = way == "written anew"
    assert WAYS[way](people, item) == (["created"] if anew else 1)
    left = ["a", "b", "c"] if anew else ["a", "c"]
    assert found(people) == left
    assert sorted(listed(people)[0]) == left
    assert (people.stats().items, people.stats().integrity.state) == (len(left), "ok")
    people.close()
    again = collection()
    assert (found(again), again.stats().integrity.state) == (left, "ok")


def test_pages_go_on_behind_a_page_of_damaged_ones(
    collection: MakeCollection, item: MakeItem, tmp_path: Path
) -> None:
    people = collection()
    people.upsert([item(str(n), [n, 1]) for n in range(6)])
    for item_id in "234":
        damage(tmp_path, item_id=item_id)
    first = people.page(limit=2)
    second = people.page(limit=2, cursor=first.cursor)
    third = people.page(limit=2, cursor=second.cursor)
    assert [[one.id for one in page.items] for page in (first, second, third)] == [["0", "1"], [], ["5"]]
    assert [[*page.damaged] for page in (first, second, third)] == [[], ["2", "3"], ["4"]]
    assert third.cursor is None


def test_who_meets_one_that_somebody_else_leaves_out_meanwhile_gets_the_others(
    people: EmbeddedCollection, tmp_path: Path
) -> None:
    damage(tmp_path)
    met: list[DamagedItemError] = []

    def read() -> list[str]:
        if not met:
            met.append(DamagedItemError("It is damaged.", label=2, item_id="b"))
            assert found(people, with_metadata=True) == ["a", "c"]  # by somebody else
            raise met[0]
        return found(people)

    assert people._undisturbed.past_damage(read) == ["a", "c"]


def test_an_identity_has_the_items_that_are_not_damaged(
    collection: MakeCollection, item: MakeItem, tmp_path: Path
) -> None:
    people = collection()
    people.upsert([item(name, [i, 1], "p") for i, name in enumerate("abc")])
    before = people.identity("p")
    damage(tmp_path, "created_us", "c")
    assert scrub(people) == ["a", "b"]
    found_now = people.identity("p")
    assert before is not None
    assert found_now == dataclasses.replace(before, items=2)
    assert people.identities(limit=9).identities == [found_now]


@pytest.mark.parametrize("when", ["met first", "known", "mended"])
def test_a_merge_takes_the_others_and_names_the_damaged_one_which_goes_with_them(
    collection: MakeCollection, item: MakeItem, tmp_path: Path, when: str
) -> None:
    people = collection()
    people.upsert([item(name, [i, 1], "p") for i, name in enumerate("abc")])
    people.upsert([item("other", [9, 1], "q")])
    damage(tmp_path)
    if when == "known":
        assert scrub(people) == ["a", "c"]
    if when == "mended":
        people.close()
        people = collection()
    assert people.merge("p", "q") == Merged(2, ("b",))
    assert found(people) == ["a", "c"]
    assert listed(people, identity="q") == (["a", "c"], ["b"])
    assert people.identity("p") is None
    merged = people.identity("q")
    assert merged is not None
    assert (merged.items, people.stats().items) == (3, 3)
    assert people.merge("p", "q") == Merged(0)
    people.close()
    again = collection()
    assert (found(again), again.stats().integrity.damaged) == (["a", "c"], ("b",))
    assert listed(again, identity="q") == (["a", "c"], ["b"])
    assert again.erase("q").deleted == 4  # and the damaged one
    assert (again.stats().items, again.stats().integrity.state) == (0, "ok")


def test_a_picture_that_is_damaged_is_named_until_its_item_is_deleted(
    collection: MakeCollection, item: MakeItem, tmp_path: Path
) -> None:
    people = collection(keep_images=True)
    rows = [item(name, [i, 1]) for i, name in enumerate("ab")]
    people.upsert([type(row)(row.id, "p", row.vector, {}, b"jpeg") for row in rows])
    connection = sqlite3.connect(tmp_path / "people" / RECORD_FILE)
    connection.execute("UPDATE pictures SET jpeg = x'00' WHERE label = 2")
    connection.commit()
    connection.close()
    assert scrub(people) == ["a", "b"]
    assert people.stats().integrity.damaged == ("b",)
    assert people.merge("p", "q") == Merged(2)
    assert people.picture("a") == b"jpeg"
    with pytest.raises(DamageError, match=r"picture of the item 'b'.*enrol the item again"):
        people.picture("b")
    assert scrub(people) == ["a", "b"]
    assert people.stats().integrity.damaged == ("b",)
    people.delete(["b"])
    assert people.stats().integrity.state == "ok"
