"""What passes a filter is remembered, and is right after any writes."""

from collections.abc import Callable
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gallery.collection import NewItem
from service.gallery.columns import Columns
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filter_reads import FilterReads, Passed
from service.gallery.filters import AllOf, AnyOf, Filter, Not, OneOf, parse_filter
from service.gallery.label_reads import Labels
from service.gallery.passing import Passing
from tests.service.gallery.brute_force import DIMENSION, FILTERS, Condition, Model, bulk

MakeItem = Callable[..., NewItem]
MakeCollection = Callable[..., EmbeddedCollection]
EVEN = parse_filter({"parity": 0})


@pytest.fixture
def numbers(collection: MakeCollection, item: MakeItem) -> EmbeddedCollection:
    numbers = collection(fields={"parity": "integer"})
    numbers.upsert([item(str(n), [n, 0], parity=n % 2, n=n) for n in range(100)])
    return numbers


def passing(numbers: EmbeddedCollection, condition: Filter = EVEN) -> Labels:
    return numbers._sources.passing.labels(condition, numbers._index)


def test_the_same_array_is_given_while_nothing_of_it_changed(
    numbers: EmbeddedCollection, item: MakeItem
) -> None:
    first = passing(numbers)
    assert first.tolist() == list(range(1, 101, 2))
    assert passing(numbers) is first
    numbers.upsert([item("odd", [0, 0], parity=1)])
    numbers.delete(["1"])
    assert passing(numbers) is first


def test_new_rows_are_added_and_dead_ones_dropped(numbers: EmbeddedCollection, item: MakeItem) -> None:
    passing(numbers)
    numbers.delete(["0"])
    numbers.upsert([item("2", [0, 0], parity=0), item("4", [0, 0], parity=1)])
    assert passing(numbers).tolist() == [*range(7, 101, 2), 101]


def test_deletions_that_compact_the_index_leave_it_right(numbers: EmbeddedCollection, item: MakeItem) -> None:
    passing(numbers)
    numbers.delete([str(n) for n in range(40, 100)])
    assert passing(numbers).tolist() == list(range(1, 41, 2))
    numbers.upsert([item("new", [0, 0], parity=0)])
    assert passing(numbers).tolist() == [*range(1, 41, 2), 101]


def test_rows_by_the_thousand_are_read_anew(numbers: EmbeddedCollection, item: MakeItem) -> None:
    passing(numbers)
    numbers.upsert([item(f"n{n}", [n, 0], parity=n % 2) for n in range(6_000)])
    assert passing(numbers).tolist() == [*range(1, 101, 2), *range(101, 6_101, 2)]


def test_true_and_one_are_different_filters(collection: MakeCollection, item: MakeItem) -> None:
    loose = collection()
    loose.upsert([item("one", [0, 0], x=1), item("true", [0, 0], x=True)])
    assert passing(loose, OneOf("x", (1,))).tolist() == [1]
    assert passing(loose, OneOf("x", (True,))).tolist() == [2]


def test_what_is_remembered_is_bounded(numbers: EmbeddedCollection) -> None:
    few = Passing(numbers._record, numbers._sources.columns, max_filters=3)
    small = Passing(numbers._record, numbers._sources.columns, max_bytes=500)
    for n in range(20):
        condition = parse_filter({"n": {"gte": n}})
        for remembered in (few, small):
            assert len(remembered.labels(condition, numbers._index)) == 100 - n
    assert len(few._known) == 3
    assert few.memory_bytes == sum(len(key) + one.labels.nbytes for key, one in few._known.items())
    assert small.memory_bytes <= 500


@pytest.mark.parametrize("few_rows", [0, 40, 5_000])
def test_filters_of_parts_pass_what_their_definition_says(few_rows: int, collection: MakeCollection) -> None:
    made = collection(dimension=DIMENSION, fields={"camera": "keyword", "day": "integer"})
    passing = Passing(
        made._record, Columns(made._record, few_rows=few_rows), few_rows=few_rows, max_bytes=20_000
    )
    state = [Model("euclidean", {}).written(bulk(1, 200))]
    made.upsert(bulk(1, 200))

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(FILTERS, st.integers(0, 30))
    def check(condition: Condition, change: int) -> None:
        if change < 10:
            items = bulk(change, 30)
            made.upsert(items)
            made.delete([f"b{change}"])
            state[0] = state[0].written(items).without(lambda item: item.id == f"b{change}")
        document, passes = condition
        labels = passing.labels(parse_filter(document), made._index)
        names = {name for name, _ in made._record.names.of(labels.tolist()).values()}
        assert names == {name for name, item in state[0].items.items() if passes(item)}
        assert len(names) == len(labels)
        assert passing.memory_bytes <= 20_000

    check()


class Counting(FilterReads):
    """Asks, and remembers what for."""

    asked: ClassVar[list[Filter]] = []

    def passing(self, condition: Filter, *, up_to: int, after: int = 0) -> Passed:
        self.asked.append(condition)
        return super().passing(condition, up_to=up_to, after=after)


def test_parts_that_are_known_are_not_asked_about_again(numbers: EmbeddedCollection) -> None:
    record = numbers._record
    record.filters = asking = Counting(record._database, record._columns, tuple)
    passing = Passing(record, Columns(record), few_rows=0)
    odd, early = parse_filter({"parity": {"ne": 0}}), parse_filter({"id": {"lt": "5"}})
    for condition in (odd, early):
        passing.labels(condition, numbers._index)
    either = passing.labels(AnyOf((odd, early)), numbers._index)
    both = passing.labels(AllOf((odd, Not(early))), numbers._index)
    assert asking.asked == [early]
    assert either.tolist() == [n + 1 for n in range(100) if n % 2 or str(n) < "5"]
    assert both.tolist() == [n + 1 for n in range(100) if n % 2 and str(n) >= "5"]
