"""JSON in: read fast, and by Python's parser where the fast one would lose something."""

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import orjson

from models.errors import UnsupportedImageError
from models.images import sniff
from service.errors import MalformedBodyError

__all__ = ["Kept", "parse_json"]

_SIGNATURE_BYTES = 16  # of which a picture's format is known
_WIDE = 2.0**63  # whole numbers beyond are read as floats, some of them as others than they are

# Gives what of a request's fields is stored as it came.
Kept: TypeAlias = Callable[[Any], Iterable[object]]


def parse_json(data: bytes, kept: Kept | None = None) -> Any:
    """Parse JSON; NaN and Infinity, which JSON lacks and many clients send, become such numbers.

    They are refused later by whoever knows in which row they stand. So is, with `kept`, what else cannot be
    stored: whole numbers of more than 64 bits, which are not rounded then, and halves of surrogate pairs.

    Args:
        data: the text.
        kept: gives what of it is stored as it came; None where nothing is.

    Raises:
        MalformedBodyError: it is no JSON.
    """
    if not data.strip():
        return {}  # no body asks for the defaults; a model with required fields will say so
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if kept is not None or b"NaN" in data or b"Infinity" in data:
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                value = json.loads(data.decode())
                if kept is None and b"\\u" in data:
                    orjson.dumps(value)  # raises where a text has half a surrogate pair, which nobody expects
                return value
        raise MalformedBodyError(_not_json(data, error)) from error
    if kept is not None and _has_wide(kept(value)):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(data)
    return value


def _has_wide(values: Iterable[object]) -> bool:
    """Return whether a float in them may have been a whole number of more than 64 bits."""
    left = list(values)
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, float) and abs(value) >= _WIDE:
            return True
    return False


def _not_json(data: bytes, error: orjson.JSONDecodeError) -> str:
    """Say that a body is not JSON; a picture that came without its Content-Type, how to send it."""
    try:
        picture = sniff(data[:_SIGNATURE_BYTES])
    except UnsupportedImageError:
        if data.isascii() and "surrogate" in error.msg:
            return (
                f"A text in the body has half a surrogate pair, which is no character (line {error.lineno}, "
                f"column {error.colno}); remove it."
            )
        return f"The body is not JSON: {error}."
    return (
        f"The body is a {picture}, and without another Content-Type it is read as JSON. "
        f"Send it with Content-Type: image/{picture.lower()}."
    )
