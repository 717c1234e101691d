"""Filters as conditions in SQLite, parameterised: no text of a user ever becomes SQL.

Every condition is two-valued (0 or 1, never NULL), so that NOT negates it exactly, also on a missing field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from service.errors import FilterError
from service.gallery.fields import FieldType, Scalar, is_number, stored_value
from service.gallery.filters import AllOf, AnyOf, Compare, Exists, Filter, Not, OneOf, Order

__all__ = ["Column", "filter_sql", "operand", "ordered_operand"]

Parameters: TypeAlias = list[str | int | float]

_SIGNS: dict[Order, str] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

# A key is compared as a value, not spelled into a JSON path, so that any name is safe. What is no JSON any
# more, being damaged, has none; it must not end the statement, which is about all rows.
_MEMBER = (
    "EXISTS (SELECT 1 FROM json_each(CASE WHEN json_valid(items.metadata) THEN items.metadata END) "
    "WHERE key = ? AND {test})"
)
_NUMBER, _TEXT = "type IN ('integer', 'real')", "type = 'text'"


@dataclass(frozen=True, slots=True)
class Column:
    """A field that has a column of its own: the column's name and the type of its values."""

    name: str
    kind: FieldType


def filter_sql(condition: Filter, columns: Mapping[str, Column]) -> tuple[str, Parameters]:
    """Return the SQL condition on a row of `items`, and its parameters.

    Args:
        condition: the filter.
        columns: the fields that have a column; any other is looked up in the metadata.

    Raises:
        FilterError: a field with a column is compared with a value of another type.
    """
    match condition:
        case AllOf(parts):
            return _chain(" AND ", parts, columns)
        case AnyOf(parts):
            return _chain(" OR ", parts, columns)
        case Not(part):
            sql, parameters = filter_sql(part, columns)
            return f"(NOT {sql})", parameters
        case OneOf(field, values):
            column = columns.get(field)
            return _member_one_of(field, values) if column is None else _one_of(field, values, column)
        case Compare(field, order, value):
            column = columns.get(field)
            return _member_order(field, order, value) if column is None else _order(condition, column)
        case Exists(field):
            column = columns.get(field)
            if column is None:
                return _MEMBER.format(test="type <> 'null'"), [field]
            return f"({column.name} IS NOT NULL)", []
        case _:
            assert_never(condition)


def _chain(operator: str, parts: Sequence[Filter], columns: Mapping[str, Column]) -> tuple[str, Parameters]:
    compiled = [filter_sql(part, columns) for part in parts]
    sql = operator.join(sql for sql, _ in compiled)
    return f"({sql})", [parameter for _, parameters in compiled for parameter in parameters]


def _one_of(field: str, values: Sequence[Scalar], column: Column) -> tuple[str, Parameters]:
    parameters = [operand(field, value, column.kind) for value in values]
    return f"({column.name} IS NOT NULL AND {column.name} IN ({_marks(values)}))", parameters


def _order(condition: Compare, column: Column) -> tuple[str, Parameters]:
    sign, value = _SIGNS[condition.order], ordered_operand(condition, column.kind)
    return f"({column.name} IS NOT NULL AND {column.name} {sign} ?)", [value]


def operand(field: str, value: Scalar, kind: FieldType) -> str | int | float:
    """Return what the stored values of a declared field are compared with.

    Raises:
        FilterError: the value is of another type.
    """
    try:
        # A whole-number field may be compared with any number: 2.5 lies between two of its values.
        return stored_value(value, "float" if kind == "integer" else kind)
    except ValueError as error:
        raise FilterError(f"The field {field!r} is declared {kind} and {error}.") from None


def ordered_operand(condition: Compare, kind: FieldType) -> str | int | float:
    """Return what the stored values of a declared field come before or after.

    Raises:
        FilterError: the field has no order, or the value is of another type.
    """
    if kind == "boolean":
        raise FilterError(f"The field {condition.field!r} is boolean and has no order; use 'eq' or 'ne'.")
    return operand(condition.field, condition.value, kind)


def _member_one_of(field: str, values: Sequence[Scalar]) -> tuple[str, Parameters]:
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if is_number(value)]
    truths = ["true" if value else "false" for value in values if isinstance(value, bool)]
    tests = (
        f"{_TEXT} AND atom IN ({_marks(texts)}) OR {_NUMBER} AND atom IN ({_marks(numbers)}) "
        f"OR type IN ({_marks(truths)})"
    )
    return _MEMBER.format(test=f"({tests})"), [field, *texts, *numbers, *truths]


def _member_order(field: str, order: Order, value: str | int | float) -> tuple[str, Parameters]:
    kind = _TEXT if isinstance(value, str) else _NUMBER
    return _MEMBER.format(test=f"{kind} AND atom {_SIGNS[order]} ?"), [field, value]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
