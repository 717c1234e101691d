"""Filters in SQL against a plain reading of the filter's JSON, and what is refused."""

import itertools
import operator
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import FilterError
from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.fields import FieldType
from service.gallery.filters import parse_filter
from service.gallery.items import prepare
from service.gallery.store import Record

DECLARED: dict[str, FieldType] = {
    "word": "keyword",
    "whole": "integer",
    "real": "float",
    "flag": "boolean",
    "time": "datetime",
}
ODD_NAMES = ['a"b', "a.b", "a\\b", "$", "[0]", "é", "x') OR 1=1 --", "\n", "items.id", "key"]
VALUES: list[Any] = [
    None, True, False, 0, 1, 1.0, -1, 2.5, 0.1, 1e300, 5e-324, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63),
    "", "1", "true", "a", "A", "b", "é", "\U0001f600", "\uffff", "a'b", 'a"b', [1], {"a": 1}, [],
]  # fmt: skip
TIMES = [
    "2024-05-01",
    "2024-05-01T00:00:00Z",
    "2024-05-01T02:00:00+02:00",
    "2024-05-01T00:00:00.000001",
    "1969-12-31",
]
TYPED: dict[str, list[Any]] = {
    "word": ["", "a", "A", "é", "1"],
    "whole": [-1, 0, 1, 2**53 + 1, 2**63 - 1],
    "real": [-1, 0, 1.0, 0.1, 2**53 + 1, float(2**53), 2.5],
    "flag": [True, False],
    "time": TIMES,
    "id": ["item1", "item2", "nobody"],
    "identity": ["anna", "ben", "é"],
}


def population() -> list[NewItem]:
    """Return items in which every field takes every value, or is missing."""
    random = np.random.default_rng(0)
    names = itertools.cycle(ODD_NAMES)
    items = []
    for i in range(300):
        metadata: dict[str, Any] = {next(names): VALUES[random.integers(len(VALUES))] for _ in range(4)}
        for field in DECLARED:
            if random.random() < 0.7:
                metadata[field] = TYPED[field][random.integers(len(TYPED[field]))]
        identity = [None, "anna", "ben", "é"][random.integers(4)]
        items.append(NewItem(f"item{i}", identity, np.zeros(1, np.float32), metadata))
    return items


ITEMS = population()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    config = CollectionConfig(dimension=1, metric="euclidean", fields=DECLARED)
    path: Path = tmp_path_factory.mktemp("filters") / "record.sqlite3"
    record = Record.create(path, config)
    with record.writing() as writer:
        writer.replace([prepare(item, config) for item in ITEMS])
    yield record
    record.close()


def passing(record: Record, document: object) -> set[str]:
    names = record.names.of(record.filters.passing(parse_filter(document), up_to=2**62).labels.tolist())
    return {item_id for item_id, _ in names.values()}


class RefusedError(Exception):
    """The plain reading refuses the filter."""


def holds(document: dict[str, Any], item: NewItem) -> bool:
    """Read a filter's JSON as its definition says."""
    return every(part_holds(key, value, item) for key, value in document.items())


def every(results: Iterable[bool]) -> bool:
    """Read all of them before judging, so that a part that is refused refuses the whole."""
    return all(list(results))


def part_holds(key: str, value: Any, item: NewItem) -> bool:
    if key == "and":
        return every(holds(part, item) for part in value)
    if key == "or":
        return not every(not holds(part, item) for part in value)
    if key == "not":
        return not holds(value, item)
    conditions = value if isinstance(value, dict) else {"eq": value}
    return every(condition_holds(key, name, operand, item) for name, operand in conditions.items())


def condition_holds(field: str, name: str, operand: Any, item: NewItem) -> bool:
    own = {"id": item.id, "identity": item.identity}
    value: Any = own[field] if field in own else item.metadata.get(field)
    if name == "exists":
        return (value is not None) is operand
    operands = [comparable(field, one) for one in (operand if name == "in" else [operand])]
    if DECLARED.get(field) == "boolean" and name in ("gt", "gte", "lt", "lte"):
        raise RefusedError
    value = None if value is None else comparable(field, value)
    if name in ("eq", "in", "ne"):
        equal = any(bool(kind(value) == kind(one) and value == one) for one in operands)
        return equal != (name == "ne")
    if kind(value) not in ("number", "string") or kind(value) != kind(operands[0]):
        return False
    compare = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}[name]
    return bool(compare(value, operands[0]))


def comparable(field: str, value: Any) -> Any:
    """Return a value as its field compares it: declared times as instants."""
    wanted = {"keyword": "string", "integer": "number", "float": "number", "boolean": "boolean"}
    declared = {"id": "keyword", "identity": "keyword", **DECLARED}.get(field)
    if declared is None:
        return value
    if declared == "datetime":
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise RefusedError from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if kind(value) != wanted[declared]:
        raise RefusedError
    return value


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {int: "number", float: "number", str: "string"}.get(type(value), type(value).__name__)


SCALARS = st.sampled_from([value for value in VALUES if not isinstance(value, list | dict | None)])
ORDERED = SCALARS.filter(lambda value: not isinstance(value, bool))


def conditions(values: st.SearchStrategy[Any], ordered: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    operators = st.fixed_dictionaries(
        {},
        optional={
            "eq": values,
            "ne": values,
            "in": st.lists(values, max_size=4),
            "exists": st.booleans(),
            **dict.fromkeys(("gt", "gte", "lt", "lte"), ordered),
        },
    ).filter(bool)
    return st.one_of(values, operators)


def typed_filter(field: str) -> st.SearchStrategy[dict[str, Any]]:
    values = st.sampled_from(TYPED[field])
    ordered = st.just(0) if field == "flag" else values
    usual = conditions(values, ordered)
    return st.one_of(usual, usual, usual, conditions(SCALARS, ORDERED)).map(lambda value: {field: value})


LEAVES = st.one_of(
    st.builds(lambda field, value: {field: value}, st.sampled_from(ODD_NAMES), conditions(SCALARS, ORDERED)),
    st.sampled_from(sorted(TYPED)).flatmap(typed_filter),
)
FILTERS = st.recursive(
    st.one_of(LEAVES, st.builds(operator.or_, LEAVES, LEAVES)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(FILTERS)
def test_filter_passes_what_its_definition_says(record: Record, document: dict[str, Any]) -> None:
    try:
        expected = {item.id for item in ITEMS if holds(document, item)}
    except RefusedError:
        with pytest.raises(FilterError):
            passing(record, document)
        return
    assert passing(record, document) == expected


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_sqlite_reads_every_float_of_json_as_it_was_written(record: Record, value: float) -> None:
    with record._database.reading() as connection:
        (read,) = connection.execute(
            "SELECT atom FROM json_each(?)", [orjson.dumps([value]).decode()]
        ).fetchone()
    assert read == value


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"color": {"ne": "red"}}, True),
        ({"not": {"color": "red"}}, True),
        ({"color": {"gt": ""}}, False),
        ({"not": {"color": {"gt": ""}}}, True),
        ({"color": {"in": []}}, False),
        ({"color": {"exists": False}}, True),
    ],
)
def test_missing_field_fails_every_comparison_and_passes_its_negation(
    record: Record, document: object, expected: bool
) -> None:
    assert ("item0" in passing(record, {"and": [document, {"id": "item0"}]})) == expected


def test_largest_filters_are_answered(record: Record) -> None:
    wide = {"or": [{"a.b": {"in": list(range(i * 39, i * 39 + 39))}} for i in range(255)]}
    numbers = {item.id: item.metadata.get("a.b") for item in ITEMS}
    expected = {item_id for item_id, n in numbers.items() if kind(n) == "number" and n in range(255 * 39)}
    assert passing(record, wide) == expected != set()
    deep: dict[str, Any] = {"a.b": {"exists": True}}
    for _ in range(15):
        deep = {"not": deep}
    assert passing(record, deep) == {item.id for item in ITEMS if holds(deep, item)}


@pytest.mark.parametrize(
    "document", [{"word": 1}, {"whole": "1"}, {"flag": 1}, {"time": "yesterday"}, {"id": 1}, {"real": True}]
)
def test_declared_field_refuses_a_value_of_another_type(record: Record, document: object) -> None:
    with pytest.raises(FilterError, match="declared"):
        passing(record, document)
