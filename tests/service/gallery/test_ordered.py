"""What lies between two numbers of a field is found in their order as it is by comparing all of them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery.collection import NewItem
from service.gallery.columns import Columns
from service.gallery.embedded import EmbeddedCollection
from service.gallery.field_values import Numbers
from service.gallery.fields import FieldType
from service.gallery.filters import Filter, parse_filter
from service.gallery.index.buffers import Integers
from service.gallery.ordered import Bound, Bounds, Ordered, bounds_of
from tests.service.gallery.conftest import MakeCollection

Filled: TypeAlias = tuple[EmbeddedCollection, Callable[..., list[int]]]

NUMBERS = [None, 0, -0.0, 1, 1.5, -2, 2**53, -(2**53), 5e-324, 1e300, -1e300]
LIMITS = st.tuples(
    st.sampled_from(["gt", "gte", "lt", "lte"]),
    st.sampled_from([float(one) for one in NUMBERS if one is not None]),
)


@given(st.lists(st.sampled_from(NUMBERS), max_size=30), st.lists(LIMITS, min_size=1, max_size=4))
def test_they_are_found_as_by_comparing_all(values: list[float | None], limits: list[Bound]) -> None:
    numbers = Numbers.of(values)
    right = reduce(np.logical_and, [numbers.compared(order, value) for order, value in limits])
    assert sorted(Ordered.of(numbers).within(limits).tolist()) == np.flatnonzero(right).tolist()


@pytest.mark.parametrize(
    ("document", "kind", "limits"),
    [
        ({"n": {"gte": 3, "lt": 9}}, "integer", [("gte", 3.0), ("lt", 9.0)]),
        ({"n": 3}, "float", [("gte", 3.0), ("lte", 3.0)]),
        ({"and": [{"n": {"gt": 1}}, {"n": 5}]}, "integer", [("gt", 1.0), ("gte", 5.0), ("lte", 5.0)]),
        ({"n": True}, "boolean", [("gte", 1.0), ("lte", 1.0)]),
        ({"n": {"gte": "1970-01-01T00:00:01Z"}}, "datetime", [("gte", 1e6)]),
        ({"n": {"gte": 2**53 + 1}}, "integer", None),  # which is no float64
        ({"n": {"in": [1, 2]}}, "integer", None),
        ({"n": {"ne": 1}}, "integer", None),
        ({"n": {"exists": True}}, "integer", None),
        ({"or": [{"n": 1}, {"n": 2}]}, "integer", None),
        ({"n": 1, "m": 1}, "integer", None),
    ],
)
def test_what_a_filter_asks_of_its_field(
    document: object, kind: FieldType, limits: list[Bound] | None
) -> None:
    expected = None if limits is None else Bounds("n", limits)
    assert bounds_of(parse_filter(document), {"n": kind, "m": kind}) == expected


def between(first: int, count: int = 5) -> Filter:
    return parse_filter({"n": {"gte": first, "lt": first + count}})


@pytest.fixture
def filled(collection: MakeCollection) -> Filled:
    """Return a collection of 100 items with a number each and 20 without, and what tells who passes."""
    made = collection(fields={"n": "integer"})
    values = np.random.default_rng(0).permutation([*range(100), *[-1] * 20]).tolist()
    rows = [
        NewItem(str(at), None, np.ones(2, np.float32), {"n": n} if n >= 0 else {})
        for at, n in enumerate(values)
    ]
    made.upsert(rows)

    def passing(first: int, count: int = 5) -> list[int]:
        return [at + 1 for at, n in enumerate(values) if first <= n < first + count]

    return made, passing


def listed(labels: Integers | None) -> list[int] | None:
    return None if labels is None else sorted(labels.tolist())


def test_a_field_is_sorted_once_narrow_filters_have_compared_it_often(filled: Filled) -> None:
    made, right = filled
    index, columns = made._index, Columns(made._record, often=3, most_at_once=300)
    for first in range(9):
        assert listed(columns.passing(between(first, 60), index)) == right(first, 60)  # no order helps these
    before = columns.memory_bytes
    assert listed(columns.passing(between(0), index)) == right(0)
    assert listed(columns.passing_at_once(between(20), index)) == right(20)
    assert listed(columns.passing(between(0), index)) == right(0)
    assert columns.memory_bytes == before
    assert columns.passing_at_once(between(20), index) is None  # that is for a thread to do
    assert listed(columns.passing(between(20), index)) == right(20)
    assert columns.memory_bytes == before + 100 * 12
    assert listed(columns.passing_at_once(between(20), index)) == right(20)
    assert listed(columns.passing(between(20, 60), index)) == right(20, 60)


def test_labels_are_put_in_order_only_where_some_were_taken_out(filled: Filled) -> None:
    made, right = filled
    gone = str(right(50, 1)[0] - 1)
    for whole in (True, False):
        columns = Columns(made._record, often=1)
        for _ in range(2):
            columns.passing(between(1), made._index)
        labels = columns.passing(between(20, 12), made._index)
        assert labels is not None
        by_number = [right(n, 1)[0] for n in range(20, 32)]
        assert labels.tolist() == (by_number if whole else sorted(by_number))
        made.delete([gone])


def test_what_is_sorted_needs_no_comparisons_at_once(filled: Filled) -> None:
    made, right = filled
    few = Columns(made._record, often=1, most_at_once=50)
    few.passing(between(1), made._index)
    assert few.passing_at_once(between(1), made._index) is None
    few.passing(between(1), made._index)
    assert listed(few.passing_at_once(between(20, 6), made._index)) == right(20, 6)  # not 240 comparisons
    assert few.passing_at_once(between(20, 7), made._index) is None  # more than an eighth of what it may


def test_a_write_undoes_it(filled: Filled) -> None:
    made, _ = filled
    columns = Columns(made._record, often=1)
    for _ in range(2):
        columns.passing(between(1), made._index)
    made.delete(["3"])
    assert columns.passing_at_once(between(1), made._index) is None
    left = columns.passing(parse_filter({"n": {"gte": -1}}), made._index)
    assert left is not None
    assert columns.memory_bytes == 119 * 16
    assert columns.passing_at_once(between(1), made._index) is not None


def test_others_compare_while_somebody_sorts(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    made, right = filled
    columns = Columns(made._record, often=1)
    columns.passing(between(1), made._index)
    begun, free, real = threading.Event(), threading.Event(), Ordered.of

    def slowly(numbers: Numbers) -> Ordered:
        begun.set()
        assert free.wait(10)
        return real(numbers)

    monkeypatch.setattr(Ordered, "of", slowly)
    with ThreadPoolExecutor(1) as pool:
        sorts = pool.submit(columns.passing, between(2), made._index)
        assert begun.wait(10)
        assert listed(columns.passing(between(3), made._index)) == right(3)
        free.set()
        assert listed(sorts.result()) == right(2)


def test_their_order_is_that_of_the_field_most_filters_are_about(collection: MakeCollection) -> None:
    made = collection(fields={"n": "integer", "m": "integer"})
    numbers = np.random.default_rng(0).permutation(100).tolist()
    made.upsert(
        [NewItem(str(n), None, np.ones(2, np.float32), {"n": n, "m": -n} if n else {"m": 0}) for n in numbers]
    )
    columns, index = Columns(made._record, often=2), made._index
    assert columns.order(None) is None
    for _ in range(3):
        columns.passing(between(3), index)
    by_n = columns.order(None)
    assert by_n is not None
    assert by_n[0] == "n"
    assert [numbers[label - 1] for label in by_n[1].tolist()] == list(range(1, 100))  # one has none
    assert columns.order("n") is None
    few = parse_filter({"m": {"gt": -5}})
    for _ in range(3):
        columns.passing(few, index)
    for _ in range(9):
        assert columns.passing_at_once(few, index) is not None
    by_m = columns.order("n")
    assert by_m is not None
    assert by_m[0] == "m"
    assert [numbers[label - 1] for label in by_m[1].tolist()] == list(reversed(range(100)))
