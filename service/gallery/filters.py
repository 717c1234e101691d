"""The filter language: parsed once into a small frozen tree that every backend compiles for itself.

    {"camera": "c1"}                              equal, strictly: 1 is 1.0, never "1" nor true
    {"camera": {"in": ["c1", "c2"]}}              one of
    {"time": {"gte": "2024-05-01", "lt": "..."}}  several operators, or several fields: all of them
    {"camera": {"ne": "c1"}}                      not equal; true where the field is missing
    {"camera": {"exists": false}}                 missing, or null
    {"or": [{...}, {...}]}, {"and": [...]}, {"not": {...}}

Any comparison on a missing field is false, and `ne` and `not` negate exactly. `id` and `identity` are fields
too. The fields of metadata are its top-level keys.
"""

import math
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.errors import FilterError
from service.gallery.fields import Scalar, is_int64, is_number

__all__ = [
    "AllOf",
    "AnyOf",
    "Compare",
    "Exists",
    "Filter",
    "Not",
    "OneOf",
    "Order",
    "equal_to",
    "fields_of",
    "leaves_of",
    "parse_filter",
    "weight_of",
]

Order: TypeAlias = Literal["gt", "gte", "lt", "lte"]

MAX_DEPTH = 16
MAX_CONDITIONS = 256  # well below the depth of expressions that SQLite allows (1,000)
MAX_VALUES = 10_000  # and the parameters of one statement (32,766)

_LONG = 256  # characters, that weigh as much as one more value

_SHORT = reprlib.Repr()  # looks at the beginning only, however long or deep a value is
_SHORT.maxlevel, _SHORT.maxstring = 2, 60


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field equals one of the values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """The field comes before or after the value: numbers by size, strings by code point."""

    field: str
    order: Order
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value that is not null."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Filter"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: "tuple[Filter, ...]"


Filter: TypeAlias = OneOf | Compare | Exists | Not | AllOf | AnyOf


def leaves_of(condition: Filter) -> Iterator[OneOf | Compare | Exists]:
    """Yield each comparison in a filter."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves_of(part)
        case Not(part):
            yield from leaves_of(part)
        case _:
            yield condition


def fields_of(condition: Filter) -> Iterator[str]:
    """Yield the field of each comparison in a filter."""
    return (leaf.field for leaf in leaves_of(condition))


def weight_of(condition: Filter) -> int:
    """Return about how much there is to a filter: its comparisons, and their values by length."""
    weight = 0
    for leaf in leaves_of(condition):
        weight += 1 + len(leaf.field) // _LONG
        if isinstance(leaf, OneOf):
            weight += len(leaf.values) + sum(len(one) for one in leaf.values if isinstance(one, str)) // _LONG
        elif isinstance(leaf, Compare) and isinstance(leaf.value, str):
            weight += len(leaf.value) // _LONG
    return weight


def equal_to(field: str, value: object) -> OneOf:
    """Return the filter that a field equals a value, whatever the field is called: "or" too.

    Raises:
        FilterError: no item can have such a field, or the value can be compared with none.
    """
    return OneOf(_text(field, "A field's name"), (_scalar(field, value),))


def parse_filter(document: object) -> Filter:
    """Read a filter from its JSON form.

    Raises:
        FilterError: it is empty, too deep, too large, or not of this language.
    """
    return _Reader().filter(document, depth=1)


class _Reader:
    """Reads one filter, and stops as soon as it is too large."""

    def __init__(self) -> None:
        self._conditions = 0
        self._values = 0

    def filter(self, document: object, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise FilterError(f"The filter is nested more than {MAX_DEPTH} deep; write it flatter.")
        if not isinstance(document, dict):
            raise FilterError(f'A filter is an object such as {{"camera": "c1"}}, not {_shown(document)}.')
        if not document:
            raise FilterError("The filter is empty; leave it out where every item should pass.")
        return _joined([self._part(key, value, depth) for key, value in document.items()])

    def _part(self, key: object, value: object, depth: int) -> Filter:
        match key:
            case "and":
                return AllOf(self._parts("and", value, depth))
            case "or":
                return AnyOf(self._parts("or", value, depth))
            case "not":
                self._count(values=0)
                return Not(self.filter(value, depth + 1))
        field = _text(key, "A field's name")
        if not isinstance(value, dict):
            return self._condition(field, "eq", value)
        if not value:
            raise FilterError(f"The condition on {field!r} is empty; give it an operator: {_OPERATOR_NAMES}.")
        return _joined([self._condition(field, name, operand) for name, operand in value.items()])

    def _parts(self, name: str, value: object, depth: int) -> tuple[Filter, ...]:
        if not isinstance(value, list) or not value:
            raise FilterError(f"{name!r} takes a list of at least one filter, not {_shown(value)}.")
        self._count(values=0)
        return tuple(self.filter(part, depth + 1) for part in value)

    def _condition(self, field: str, name: object, operand: object) -> Filter:
        build = _OPERATORS.get(name) if isinstance(name, str) else None
        if build is None:
            raise FilterError(f"{_shown(name)} on {field!r} is no operator; use one of: {_OPERATOR_NAMES}.")
        self._count(values=len(operand) if isinstance(operand, list) else 1)
        return build(field, operand)

    def _count(self, *, values: int) -> None:
        """Count a condition, or an "and", "or" or "not", and the values that it compares with."""
        self._conditions += 1
        self._values += values
        if self._conditions > MAX_CONDITIONS:
            raise FilterError(f"The filter has more than {MAX_CONDITIONS} conditions; write a smaller one.")
        if self._values > MAX_VALUES:
            raise FilterError(f"The filter names more than {MAX_VALUES} values; use fewer.")


def _one_of(field: str, operand: object) -> Filter:
    if not isinstance(operand, list):
        raise FilterError(f"'in' on {field!r} takes a list of values, not {_shown(operand)}.")
    return OneOf(field, tuple(_scalar(field, value) for value in operand))


def _exists(field: str, operand: object) -> Filter:
    if not isinstance(operand, bool):
        raise FilterError(f"'exists' on {field!r} takes true or false, not {_shown(operand)}.")
    return Exists(field) if operand else Not(Exists(field))


def _ordered(order: Order) -> Callable[[str, object], Filter]:
    def build(field: str, operand: object) -> Filter:
        value = _scalar(field, operand)
        if isinstance(value, bool):
            raise FilterError(f"{order!r} on {field!r}: true and false have no order; use 'eq' or 'ne'.")
        return Compare(field, order, value)

    return build


_OPERATORS: dict[str, Callable[[str, object], Filter]] = {
    "eq": equal_to,
    "ne": lambda field, operand: Not(equal_to(field, operand)),
    "in": _one_of,
    "gt": _ordered("gt"),
    "gte": _ordered("gte"),
    "lt": _ordered("lt"),
    "lte": _ordered("lte"),
    "exists": _exists,
}
_OPERATOR_NAMES = ", ".join(_OPERATORS)


def _scalar(field: str, value: object) -> Scalar:
    if isinstance(value, str):
        return _text(value, f"A string compared with {field!r}")
    if isinstance(value, bool) or is_int64(value) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if is_number(value):
        raise FilterError(f"A number compared with {field!r} is beyond 64 bits; use a smaller one.")
    advice = {
        type(None): 'use {"exists": false} for a missing value',
        list: 'use {"in": [...]} for one of several values',
    }.get(type(value), "use a string, a number, true or false")
    if field in ("$and", "$or", "$not"):  # as some databases write them
        advice = "and, or and not are written without $"
    raise FilterError(f"{field!r} cannot be compared with {_shown(value)}; {advice}.")


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise FilterError(f"{what} is a string, not {_shown(value)}.")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise FilterError(f"{what} holds a NUL or half a surrogate pair, which no item can hold; remove it.")
    return value


def _joined(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _shown(value: object) -> str:
    """Return a value, or the beginning of it, about as JSON has it."""
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else _SHORT.repr(value)
