"""What an item must be to be written: its names, its vector, its metadata."""

import math
import re
import secrets
import time
from typing import Any

import numpy as np
import orjson

from service.errors import ServiceError
from service.gallery.collection import CollectionConfig, NewItem, Vectors
from service.gallery.fields import is_int64, stored_value
from service.gallery.schema import Row

__all__ = ["ItemRejectedError", "name_problem", "new_id", "prepare"]

MAX_NAME_CHARACTERS = 256
MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 32  # SQLite reads JSON of depth 1,000

_FORBIDDEN = re.compile("[/\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


class ItemRejectedError(ServiceError):
    """An item that cannot be written, alone; it becomes a `Written` and never leaves the gallery."""


def prepare(item: NewItem, config: CollectionConfig) -> Row:
    """Return the row to write, with a new id where the item has none.

    Raises:
        ItemRejectedError: the item does not fit the collection, with the sentence that says why.
    """
    for what, name in (("id", item.id), ("identity", item.identity)):
        if name is not None and (problem := name_problem(name)):
            raise ItemRejectedError(f"The {what} {problem}.")
    return Row(
        id=new_id() if item.id is None else item.id,
        identity=item.identity,
        vector=_vector(item.vector, config),
        metadata=_metadata(item.metadata),
        fields=tuple(_field(item, name, config) for name in config.fields),
        picture=item.picture if config.keep_images else None,
    )


def name_problem(name: str) -> str | None:
    """Return what keeps an id or identity from being one, or None. They must fit into a URL's path."""
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        return f"has {len(name)} characters; use 1 to {MAX_NAME_CHARACTERS}"
    if _FORBIDDEN.search(name):
        return "holds a '/', a control character or half a surrogate pair; remove it"
    if not name.strip("."):
        return "is only dots, which a URL cannot name; use another"
    return None


def new_id() -> str:
    """Return a new id: 12 hexadecimal digits of the time in milliseconds, then 20 random ones.

    Ids that grow with time are put side by side in the record's index of ids, so that a commit writes a few
    pages of it instead of one an item.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def _vector(vector: Vectors, config: CollectionConfig) -> Vectors:
    if vector.ndim != 1 or len(vector) != config.dimension:
        shape = " x ".join(map(str, vector.shape))
        raise ItemRejectedError(f"The vector has {shape} numbers; this collection takes {config.dimension}.")
    if not np.isfinite(vector).all():
        raise ItemRejectedError(
            "The vector holds NaN, infinity or a number beyond 3.4e38, the largest of float32."
        )
    if config.metric == "cosine" and not vector.any():
        raise ItemRejectedError("The vector is zero and has no direction, which cosine needs.")
    return vector


def _metadata(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        raise ItemRejectedError(f"The metadata is an object, not {type(metadata).__name__}.")
    _check_json(metadata, "metadata", depth=1)
    encoded = orjson.dumps(metadata)
    if len(encoded) > MAX_METADATA_BYTES:
        raise ItemRejectedError(
            f"The metadata has {len(encoded)} bytes as JSON; use at most {MAX_METADATA_BYTES}."
        )
    return encoded.decode()


def _check_json(value: object, path: str, depth: int) -> None:
    if depth > MAX_METADATA_DEPTH:
        raise ItemRejectedError(f"The metadata is nested more than {MAX_METADATA_DEPTH} deep; flatten it.")
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                raise ItemRejectedError(f"{path}: the key {key!r} is not a string.")
            _check_text(key, f"a key of {path}")
            _check_json(member, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for i, member in enumerate(value):
            _check_json(member, f"{path}[{i}]", depth + 1)
    elif isinstance(value, str):
        _check_text(value, path)
    else:
        _check_number(value, path)


def _check_number(value: object, path: str) -> None:
    if value is None or isinstance(value, bool) or is_int64(value):
        return
    if type(value) is float and math.isfinite(value):
        return
    if isinstance(value, int | float):
        raise ItemRejectedError(f"{path} is no finite number of at most 64 bits; write it as a string.")
    raise ItemRejectedError(f"{path} is of type {type(value).__name__}, which JSON does not have.")


def _check_text(text: str, path: str) -> None:
    if _UNWRITABLE.search(text):
        raise ItemRejectedError(f"{path[:300]!r} holds a NUL or half a surrogate pair; remove it.")


def _field(item: NewItem, name: str, config: CollectionConfig) -> str | int | float | None:
    value = item.metadata.get(name)
    if value is None:
        return None
    try:
        return stored_value(value, config.fields[name])
    except ValueError as error:
        raise ItemRejectedError(f"The field {name!r} {error}.") from None
