"""The declared fields in memory answer filters as SQLite does, whatever was written since they were read."""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import FilterError
from service.gallery.collection import NewItem
from service.gallery.columns import Columns
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filter_reads import Passed
from service.gallery.filters import Filter, parse_filter
from service.gallery.index.flat import StaleLabelsError
from service.gallery.passing import Passing
from tests.service.gallery.test_field_values import REAL, WHOLE, WORDS
from tests.service.gallery.test_filters import DECLARED

MakeItem = Callable[..., NewItem]
MakeCollection = Callable[..., EmbeddedCollection]
VALUES: dict[str, list[Any]] = {
    "word": WORDS,
    "whole": WHOLE,
    "real": REAL,
    "flag": [True, False],
    "few": list(range(40)),  # of which each is an eighth at most
    "time": ["2024-05-01", "2024-05-01T02:00:00+02:00", "2024-05-01T00:00:00.000001", "1969-12-31"],
}
FIELDS = DECLARED | {"few": "integer"}
OPERANDS = VALUES | {"whole": REAL}
EARLY = parse_filter({"whole": {"lt": 2}})


def items(seed: int, count: int) -> list[NewItem]:
    """Return items, some of them often drawn, whose fields have any value, or are null or missing."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        metadata = {name: values[random.integers(len(values))] for name, values in VALUES.items()}
        metadata |= {name: None for name in FIELDS if random.random() < 0.1}
        metadata = {name: value for name, value in metadata.items() if random.random() > 0.1}
        drawn.append(NewItem(f"i{random.integers(500)}", None, np.zeros(1, np.float32), metadata))
    return drawn


@pytest.fixture
def made(collection: MakeCollection) -> EmbeddedCollection:
    made = collection(dimension=1, fields=FIELDS)
    made.upsert(items(0, 400))
    return made


def _conditions(field: str) -> st.SearchStrategy[dict[str, Any]]:
    one = st.sampled_from(OPERANDS[field])
    some = st.lists(one, max_size=20)
    any_of_any = st.sampled_from([value for values in OPERANDS.values() for value in values])
    ordered = st.sampled_from(["gt", "gte", "lt", "lte"])
    conditions = [
        st.tuples(st.sampled_from(["eq", "ne"]), one),
        st.tuples(st.just("in"), some),
        st.tuples(st.just("exists"), st.booleans()),
        st.tuples(ordered, st.just("a") if field == "flag" else one),
        st.tuples(ordered, one).filter(lambda pair: not isinstance(pair[1], bool)),
    ]
    usual = st.one_of(*conditions[: 4 if field == "flag" else 5])
    other = st.tuples(st.sampled_from(["eq", "ne"]), any_of_any)
    return st.one_of(usual, usual, usual, other).map(lambda pair: {field: {pair[0]: pair[1]}})


_LEAVES = st.sampled_from(sorted(FIELDS)).flatmap(_conditions)
FILTERS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=4,
)


def answer(ask: Callable[..., Any], condition: Filter, *where: Any, **bounds: int) -> Any:
    """Return the labels that somebody finds, or why there are none."""
    try:
        found = ask(condition, *where, **bounds)
    except FilterError as error:
        return str(error)
    return np.sort(found.labels if isinstance(found, Passed) else found).tolist()


def test_they_answer_as_sqlite_does_whatever_is_written_meanwhile(made: EmbeddedCollection) -> None:
    columns = Columns(made._record, few_rows=0)  # what is new is an eighth of the rows, or all are read anew
    often = Columns(made._record, few_rows=0, often=1)
    seeds = itertools.count(1)

    @settings(max_examples=8, deadline=None, derandomize=True)
    @given(st.lists(FILTERS, min_size=8, max_size=12), st.sampled_from([0, 1, 5, 100]))
    def check(documents: list[dict[str, Any]], written: int) -> None:
        if written:
            made.upsert(items(next(seeds), written))
            made.delete([f"i{next(seeds)}"])
        index, reads = made._index, made._record.filters
        for condition in map(parse_filter, documents):
            expected = answer(reads.passing, condition, up_to=2**62)
            assert answer(columns.passing, condition, index) == expected
            assert answer(often.passing, condition, index) == expected
            with contextlib.suppress(FilterError):
                at_once = often.passing_at_once(condition, index)
                assert at_once is None or sorted(at_once.tolist()) == expected

    check()


@pytest.mark.parametrize("document", [{"undeclared": 1}, {"id": "a"}, {"or": [{"flag": True}, {"x": 1}]}])
def test_what_is_not_declared_they_leave_to_others(made: EmbeddedCollection, document: object) -> None:
    columns = Columns(made._record)
    assert columns.passing(parse_filter(document), made._index) is None
    assert columns.memory_bytes == 0


def test_an_index_that_is_behind_is_refused(made: EmbeddedCollection) -> None:
    columns, held = Columns(made._record), made._sources.columns
    before = made._index
    held.passing(EARLY, before)
    made.upsert(items(0, 400)[-1:])  # so that there are as many as before
    with pytest.raises(StaleLabelsError):
        columns.passing(EARLY, before)  # it reads all
    held.passing(EARLY, made._index)
    with pytest.raises(StaleLabelsError):
        held.passing(EARLY, before)
    between = made._index
    made.upsert(items(1, 5))
    after = made._index
    made.upsert(items(1, 5))
    assert len(between) <= len(after)
    with pytest.raises(StaleLabelsError):
        held.passing(EARLY, after)  # it reads what is new, of which the record has nothing any more


def test_a_field_is_read_once_and_then_only_what_is_new(made: EmbeddedCollection) -> None:
    columns = Columns(made._record)
    columns.passing(EARLY, made._index)
    first = columns._held.fields["whole"]
    columns.passing(parse_filter({"whole": 1, "flag": True}), made._index)
    assert columns._held.fields["whole"] is first
    made.upsert(items(1, 3))
    assert columns.passing(parse_filter({"flag": True}), made._index) is not None
    assert columns._held.fields.keys() == {"whole", "flag"}


def test_the_memory_they_take_is_counted_and_given_back_when_something_is_erased(
    collection: MakeCollection, item: MakeItem
) -> None:
    made = collection(fields={"n": "integer", "word": "keyword"})
    made.upsert([item(str(n), [n, 0], "anna" if n else "ben", n=n, word="a") for n in range(100)])
    before = made.stats().memory_bytes
    made._sources.columns.passing(parse_filter({"n": 1}), made._index)
    assert made.stats().memory_bytes == before + 100 * (8 + 8)
    made._sources.columns.passing(parse_filter({"word": "a"}), made._index)
    assert 100 * 20 < made.stats().memory_bytes - before < 100 * 20 + 200
    made.erase("ben")
    assert made._sources.columns.memory_bytes == made._sources.passing.memory_bytes == 0


def test_strings_that_differ_too_much_are_left_to_the_record(
    collection: MakeCollection, item: MakeItem
) -> None:
    made = collection(fields={"word": "keyword"})
    made.upsert([item(str(n), [n, 0], word=f"w{n}") for n in range(20)])
    columns = Columns(made._record, most_word_bytes=5_000)
    passing = Passing(made._record, columns)
    sought = parse_filter({"word": {"gte": "w5"}})
    assert passing.labels(sought, made._index).tolist() == [6, 7, 8, 9, 10]
    assert columns.memory_bytes > 20 * 100
    made.upsert([item(str(n), [n, 0], word=f"w{n}") for n in range(20, 60)])
    expected = [n + 1 for n in range(60) if f"w{n}" >= "w5"]
    assert passing.labels(sought, made._index).tolist() == expected
    assert columns.passing(sought, made._index) is None
    assert columns.memory_bytes <= 60 * 8


@pytest.mark.parametrize(
    ("document", "most"),
    [
        ({"n": {"gte": 3}}, 40),
        ({"n": {"gte": 3, "lt": 9}}, 80),
        ({"n": {"in": [1, 2, 3]}}, 120),
        ({"s": "w1"}, 40),
        ({"s": {"in": ["w1", "w2"]}}, 40 + 20 * 8),
        ({"s": {"gt": "w1"}}, 40 + 20 * 8),
    ],
)
def test_at_once_they_tell_what_takes_few_comparisons_only(
    collection: MakeCollection, document: dict[str, Any], most: int
) -> None:
    made = collection(fields={"n": "integer", "s": "keyword"})
    made.upsert(
        [NewItem(f"i{n}", None, np.ones(2, np.float32), {"n": n, "s": f"w{n % 8}"}) for n in range(40)]
    )
    condition = parse_filter(document)
    enough, short = (Columns(made._record, most_at_once=count) for count in (most, most - 1))
    assert enough.passing_at_once(condition, made._index) is None  # the fields were not read yet
    right = enough.passing(condition, made._index)
    np.testing.assert_array_equal(enough.passing_at_once(condition, made._index), right)
    short.passing(condition, made._index)
    assert short.passing_at_once(condition, made._index) is None
