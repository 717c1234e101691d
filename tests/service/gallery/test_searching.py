"""A search between whose steps something is written notices it."""

from collections.abc import Callable

import numpy as np
import pytest

from service.gallery.collection import NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.index.flat import StaleLabelsError
from service.gallery.index.segments import Index
from service.gallery.searching import search

EVERYONE = SearchOptions(k=9, filter=parse_filter({"n": {"exists": True}}))
ANYONE = SearchOptions(k=9)
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
    (matches,) = search(people._record, lambda: people._index, QUERY, options, [])
    assert [match.id for match in matches] == ["a", "b"]


def test_write_between_filter_and_index_is_noticed(people: EmbeddedCollection, item: MakeItem) -> None:
    def index_after_a_write() -> Index:
        people.upsert([item("a", [1, 0], n=1)])
        return people._index

    with pytest.raises(StaleLabelsError):
        search(people._record, index_after_a_write, QUERY, EVERYONE, [])


@pytest.mark.parametrize("options", [EVERYONE, ANYONE])
def test_write_between_index_and_names_is_noticed(
    people: EmbeddedCollection, item: MakeItem, options: SearchOptions
) -> None:
    def index_before_a_write() -> Index:
        index = people._index
        people.upsert([item("a", [1, 0], n=1)])
        return index

    with pytest.raises(StaleLabelsError):
        search(people._record, index_before_a_write, QUERY, options, [])


def test_record_ahead_of_the_index_is_noticed(people: EmbeddedCollection, item: MakeItem) -> None:
    before = people._index
    people.upsert([item("c", [3, 0], n=3)])
    with pytest.raises(StaleLabelsError):
        search(people._record, lambda: before, QUERY, EVERYONE, [])
