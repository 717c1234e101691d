"""The types of metadata fields, and the one value that the record stores and compares for each."""

from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias, TypeGuard

__all__ = ["BUILT_IN_FIELDS", "FieldType", "Scalar", "instant", "is_int64", "is_number", "stored_value"]

FieldType: TypeAlias = Literal["keyword", "integer", "float", "boolean", "datetime"]
Scalar: TypeAlias = str | int | float | bool

BUILT_IN_FIELDS = ("id", "identity")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOUNS = {
    "keyword": "a string",
    "integer": "a whole number of at most 64 bits",
    "float": "a number of at most 64 bits",
    "boolean": "true or false",
    "datetime": "an ISO 8601 date and time such as 2024-05-01T12:00:00Z",
}


def stored_value(value: object, kind: FieldType) -> str | int | float:
    """Return what the record holds of a value: booleans as 0 or 1, datetimes as microseconds since 1970.

    Raises:
        ValueError: the value is not of that type; the message completes "the field ... ".
    """
    match kind, value:
        case "boolean", bool():
            return int(value)
        case "keyword", str():
            return value
        case "integer" | "float", int() if is_int64(value):
            return value
        case "float", float():
            return value
        case "datetime", str() if (moment := instant(value)) is not None:
            return moment
        case _:
            shown = repr(value)[:80]
            raise ValueError(f"takes {_NOUNS[kind]}, not {shown} ({type(value).__name__})")


def instant(text: str) -> int | None:
    """Return the microseconds since 1970 of an ISO 8601 time (UTC where it has no offset), or None."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether it is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_int64(value: object) -> TypeGuard[int]:
    """Return whether it is a whole number that SQLite (and most JSON readers) hold exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
