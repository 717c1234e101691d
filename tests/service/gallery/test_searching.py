"""A search between whose steps something is written notices it."""

from collections.abc import Callable

import numpy as np
import pytest

from service.gallery import searching
from service.gallery.collection import NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.index.flat import StaleLabelsError
from service.gallery.searching import search

EVERYONE = SearchOptions(k=9, filter=parse_filter({"n": {"exists": True}}))
ANYONE = SearchOptions(k=9)
BEST = SearchOptions(k=9, group_by="identity")
QUERY = np.zeros((1, 2), np.float32)

MakeItem = Callable[..., NewItem]
MakeCollection = Callable[..., EmbeddedCollection]


@pytest.fixture
def people(collection: MakeCollection, item: MakeItem) -> EmbeddedCollection:
    people = collection()
    people.upsert([item("a", [1, 0], n=1), item("b", [2, 0], n=2)])
    return people


@pytest.mark.parametrize("options", [EVERYONE, ANYONE])
def test_undisturbed_search_answers(people: EmbeddedCollection, options: SearchOptions) -> None:
    (matches,) = search(people._sources, people._index, QUERY, options, [])
    assert [match.id for match in matches] == ["a", "b"]


@pytest.mark.parametrize("at_once", [1, 10_000])
@pytest.mark.parametrize("options", [EVERYONE, ANYONE, BEST])
def test_a_row_that_was_replaced_after_the_index_was_taken_is_noticed(
    people: EmbeddedCollection,
    item: MakeItem,
    options: SearchOptions,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searching, "_NAMED_AT_ONCE", at_once)
    before = people._index
    people.upsert([item("b", [2, 0], n=2)])
    with pytest.raises(StaleLabelsError):
        search(people._sources, before, QUERY, options, [])


def test_a_row_that_came_after_the_index_was_taken_is_not_of_its_moment(
    people: EmbeddedCollection, item: MakeItem
) -> None:
    before = people._index
    people.upsert([item("c", [0, 0], n=3)])
    (matches,) = search(people._sources, before, QUERY, EVERYONE, [])
    assert [match.id for match in matches] == ["a", "b"]
    (matches,) = search(people._sources, people._index, QUERY, EVERYONE, [])
    assert [match.id for match in matches] == ["c", "a", "b"]


def test_an_index_older_than_what_is_remembered_is_noticed(
    people: EmbeddedCollection, item: MakeItem
) -> None:
    people.upsert([item("c", [0, 0], n=3)])
    before = people._index
    people.delete(["c"])
    search(people._sources, people._index, QUERY, EVERYONE, [])
    with pytest.raises(StaleLabelsError):
        search(people._sources, before, QUERY, EVERYONE, [])


def test_of_many_matches_each_query_has_its_own(collection: MakeCollection) -> None:
    """Names are put to 10,000 of 10,500 at once, the last of which is one of many of its query."""
    rows, queries = np.random.default_rng(3).standard_normal((2, 150, 2)).astype(np.float32)
    made = collection()
    made.upsert([NewItem(f"i{n}", f"of {n}", row, {}) for n, row in enumerate(rows)])
    found = made.search(queries, SearchOptions(k=70))
    for query, matches in zip(queries, found, strict=True):
        distances = np.linalg.norm(rows - query.astype(np.float64), axis=1)
        nearest = np.argsort(distances)[:70]
        assert [match.id for match in matches] == [f"i{n}" for n in nearest]
        assert [match.identity for match in matches] == [f"of {n}" for n in nearest]
        assert [match.distance for match in matches] == pytest.approx(distances[nearest].tolist())
        assert not any(match.metadata for match in matches)
