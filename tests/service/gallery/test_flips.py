"""A byte flipped anywhere in a collection's files: found and said, mended, or of no consequence.

`make verify-flips` flips hundreds.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest

from service.errors import StorageError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.config_copy import config_file
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.filters import parse_filter

PLACES = int(os.environ.get("FLIP_PLACES", "40"))
PAGE_BYTES = 4096
META_PAGE = 1  # counted from 0, as the others here
POINTERS_OR_INDEX = (2, 5, 10)  # first bytes of pages that hold no row
ITEMS, DIMENSION = 1_150, 24
CONFIG = CollectionConfig(
    dimension=DIMENSION,
    metric="euclidean",
    index_type="hnsw",
    fields={"n": "integer", "camera": "keyword"},
    keep_images=True,
)
VECTORS = np.random.default_rng(0).standard_normal((ITEMS, DIMENSION)).astype(np.float32)
LEFT = [i for i in range(ITEMS) if i % 10]  # every tenth is deleted: there are free pages

Answer: TypeAlias = Any
Ask: TypeAlias = Callable[[EmbeddedCollection], Answer]


def item(i: int) -> NewItem:
    picture = bytes([i % 256]) * (6000 if i % 250 == 1 else 300)  # some are longer than a page
    metadata = {"n": i, "camera": f"c{i % 3}", "words": "x" * (5000 if i % 200 == 2 else 50)}
    return NewItem(f"item-{i}", f"person-{i // 4}", VECTORS[i], metadata, picture)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a collection that was closed, with a snapshot and rows that are newer."""
    folder = tmp_path_factory.mktemp("flips") / "people"
    folder.mkdir()
    EmbeddedCollection.create(folder, CONFIG)
    collection = EmbeddedCollection(folder)
    collection.upsert([item(i) for i in range(ITEMS - 100)])
    assert collection.seal(idle=True)
    collection.upsert([item(i) for i in range(ITEMS - 100, ITEMS)])
    collection.delete([f"item-{i}" for i in range(0, ITEMS, 10)])
    collection.close()
    return folder


def questions() -> Iterator[tuple[str, Ask]]:
    """Yield everything that a collection can be asked one by one, each named."""
    for i in chain(range(0, ITEMS, 5), range(1, ITEMS, 5)):
        yield f"get item-{i}", partial(getting, item_id=f"item-{i}")
    for i in range(1, ITEMS, 15):
        yield f"picture item-{i}", partial(EmbeddedCollection.picture, item_id=f"item-{i}")
    for after in (0, 200, 511, 1000):
        yield f"page {after}", partial(page_of, cursor=str(after))
    for name in ("person-3", "person-70"):
        yield f"page {name}", partial(page_of, identity=name)


def getting(collection: EmbeddedCollection, item_id: str) -> Answer:
    return plain(collection.get(item_id, with_vector=True))


def page_of(collection: EmbeddedCollection, **which: Any) -> Answer:
    page = collection.page(limit=60, with_vector=True, **which)
    return Listed([plain(one) for one in page.items], [*page.damaged])


class Listed(NamedTuple):
    items: list[Any]
    damaged: list[str | None]

    def goes_past(self, lost: set[str], right: Answer) -> bool:
        """Return whether it names those of the right page that are lost, and has the others first."""
        assert isinstance(right, Listed)
        kept = [one for one in right.items if one[0] not in lost]
        named = {*self.damaged}
        gone = {one[0] for one in right.items if one[0] in lost}
        return self.items[: len(kept)] == kept and gone <= named <= {*lost, None}


def plain(stored: Any) -> Any:
    return stored and (stored.id, stored.identity, stored.metadata, stored.vector.tolist())


def sets_of(collection: EmbeddedCollection) -> dict[str, Any]:
    """Return what depends on which items there are: for each question the ids, or the number of them."""
    found: dict[str, Any] = {}
    for exact in (False, True):
        matches = collection.search(VECTORS[:1], SearchOptions(k=2000, exact=exact))
        found[f"search {exact}"] = [
            sorted((m.id, m.identity, round(m.distance, 4)) for m in q) for q in matches
        ]
    for condition in ({"camera": "c1"}, {"n": {"gte": 100}}, {"identity": "person-5"}, {"words": "x" * 50}):
        options = SearchOptions(k=2000, filter=parse_filter(condition))
        (matches_of,) = collection.search(VECTORS[:1], options)
        found[f"filter {condition}"] = sorted(match.id for match in matches_of)
    (groups,) = collection.search(VECTORS[:1], SearchOptions(k=2000, group_by="identity"))
    found["groups"] = sorted(str(match.identity) for match in groups)
    found["identities"] = {one.name: one.items for one in collection.identities(limit=2000).identities}
    found["count"] = collection.stats().items
    return found


def without(found: dict[str, Any], lost: set[str]) -> dict[str, Any]:
    """Return what `sets_of` gives where some items are lost."""
    kept = [i for i in LEFT if f"item-{i}" not in lost]
    people: dict[str, int] = {}
    for i in kept:
        people[f"person-{i // 4}"] = people.get(f"person-{i // 4}", 0) + 1
    changed: dict[str, Any] = {"groups": sorted(people), "identities": people, "count": len(kept)}
    for name, answer in found.items():
        if name.startswith("search"):
            changed[name] = [[match for match in query if match[0] not in lost] for query in answer]
        elif name.startswith("filter"):
            changed[name] = [one for one in answer if one not in lost]
    return changed


@pytest.fixture(scope="module")
def right(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Answer], dict[str, Any]]:
    copy = tmp_path_factory.mktemp("right") / "people"
    shutil.copytree(whole, copy)
    collection = EmbeddedCollection(copy)
    try:
        answers = [ask(collection) for _, ask in questions()]
        assert sum(answer is None for answer in answers) == ITEMS - len(LEFT)
        assert sets_of(collection) == without(sets_of(collection), set())
        return answers, sets_of(collection)
    finally:
        collection.close()


def flip(path: Path, place: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (before,) = file.read(1)
        file.seek(place)
        file.write(bytes([before ^ mask]))


def places_of(path: Path, chance: random.Random, count: int) -> list[tuple[int, int]]:
    """Return places and what to flip there: of each kind of page, at its beginning as often as elsewhere."""
    data = path.read_bytes()
    kinds: dict[int, list[int]] = {}
    for at in range(0, len(data), PAGE_BYTES):
        kinds.setdefault(-1 if at == 0 else data[at], []).append(at)
    chosen = []
    for _ in range(count):
        page = chance.choice(kinds[chance.choice(sorted(kinds))])
        within = chance.randrange(chance.choice([24, 128, PAGE_BYTES]))
        chosen.append((min(page + within, len(data) - 1), 1 << chance.randrange(8)))
    return chosen


def answer_of(ask: Ask, collection: EmbeddedCollection) -> Answer:
    try:
        return ask(collection)
    except StorageError as error:
        return error


def names_one(given: Answer, lost: set[str]) -> bool:
    return (
        isinstance(given, StorageError) and "damaged" in str(given) and any(one in str(given) for one in lost)
    )


def assert_right_or_said(folder: Path, right: tuple[list[Answer], dict[str, Any]]) -> str:
    """Open a collection and ask it everything; return how it stood: refused, lost or right."""
    try:
        collection = EmbeddedCollection(folder)
    except StorageError as error:
        return "refused" if "Stop the server, move the folder" in str(error) else str(error)
    try:
        lost = {str(item_id) for item_id, _ in collection._record.damaged.values()}
        answers, sets = right
        for (name, ask), answer in zip(questions(), answers, strict=True):
            given = answer_of(ask, collection)
            past = isinstance(given, Listed) and given.goes_past(lost, answer)
            assert given == answer or past or names_one(given, lost) or "picture" in str(given), name
        assert sets_of(collection) == without(sets, lost)
        for item_id in lost:
            with pytest.raises(StorageError, match=f"'{item_id}'.*damaged.*backup"):
                collection.get(item_id)
        again = [item(int(item_id.removeprefix("item-"))) for item_id in sorted(lost)]
        if again:
            collection.upsert(again[1:])
            assert collection.delete([str(again[0].id)]) == 1
            assert collection.get(str(again[0].id)) is None
            assert not collection._record.damaged
            assert collection.stats().items == len(LEFT) - 1
        return "lost" if lost else "right"
    finally:
        collection.close()


def test_a_flipped_byte_of_the_record_is_found_and_nothing_else_is_lost(
    whole: Path, right: tuple[list[Answer], dict[str, Any]], tmp_path: Path
) -> None:
    chance = random.Random(1)
    became: list[str] = []
    data = (whole / RECORD_FILE).read_bytes()
    for number, (place, mask) in enumerate(places_of(whole / RECORD_FILE, chance, PLACES)):
        folder = tmp_path / str(number) / "people"
        shutil.copytree(whole, folder)
        flip(folder / RECORD_FILE, place, mask)
        page = place // PAGE_BYTES
        try:
            became.append(assert_right_or_said(folder, right))
            assert became[-1] == "right" or page > 0  # all others are found without the first page
            assert became[-1] != "lost" or data[PAGE_BYTES * page] not in POINTERS_OR_INDEX
            assert became[-1] != "refused" or page == META_PAGE  # which says how many items there are
        except BaseException as error:
            error.add_note(f"place {place} ({place % PAGE_BYTES} of page {page}), mask {mask}")
            raise
        shutil.rmtree(folder.parent)
    assert {"lost", "right"} <= set(became) <= {"lost", "refused", "right"}, became
    assert became.count("refused") < PLACES / 20


def test_a_flipped_byte_of_what_is_made_from_the_record_is_found_and_it_is_made_anew(
    whole: Path, right: tuple[list[Answer], dict[str, Any]], tmp_path: Path
) -> None:
    chance = random.Random(2)
    (snapshot,) = (whole / "snapshots").iterdir()
    files = [*sorted(snapshot.iterdir()), config_file(whole / RECORD_FILE)]
    assert len(files) == 5
    for file in files:
        for number in range(max(1, PLACES // 30)):
            folder = tmp_path / f"{file.name}-{number}" / "people"
            shutil.copytree(whole, folder)
            flip(
                folder / file.relative_to(whole),
                chance.randrange(file.stat().st_size),
                1 << chance.randrange(8),
            )
            assert assert_right_or_said(folder, right) == "right"
