"""How the record lies in SQLite: its tables, and a row as a tuple of values."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson

from service.gallery.collection import CollectionConfig, StoredItem, Vectors
from service.gallery.damage import damaged_item
from service.gallery.filter_sql import Column

__all__ = [
    "SCHEMA_VERSION",
    "Row",
    "all_columns",
    "checked",
    "checked_name",
    "config_checksum",
    "config_from_json",
    "config_to_json",
    "field_columns",
    "is_right",
    "name_of",
    "row_values",
    "sealed",
    "statements",
    "stored_item",
]

SCHEMA_VERSION = 2

_CHECKSUMS = 2  # behind the label: of the row, and of its names alone

Columns: TypeAlias = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Row:
    """An item, checked and ready to be written; `fields` holds the declared ones in the config's order."""

    id: str
    identity: str | None
    vector: Vectors
    metadata: str
    fields: tuple[str | int | float | None, ...]
    picture: bytes | None = None


def field_columns(config: CollectionConfig) -> dict[str, Column]:
    """Return the columns of the declared fields: numbered, so that no field's name is ever SQL."""
    return {name: Column(f"field_{i}", kind) for i, (name, kind) in enumerate(config.fields.items())}


def statements(columns: Columns) -> list[str]:
    """Return what creates the tables.

    The field columns have no type, so that SQLite keeps each number as it is given. The vector comes
    last, so that reading what stands before it never touches its pages.
    """
    names = [column.name for column in columns.values()]
    return [
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL)",
        "CREATE TABLE damaged (label INTEGER PRIMARY KEY, id TEXT, identity TEXT)",
        "CREATE TABLE items (label INTEGER PRIMARY KEY AUTOINCREMENT, checksum INTEGER NOT NULL, "
        "name_checksum INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, identity TEXT, metadata TEXT NOT NULL, "
        "created_us INTEGER NOT NULL, pictured INTEGER NOT NULL, "
        + "".join(f"{name}, " for name in names)
        + "vector BLOB NOT NULL)",
        "CREATE INDEX items_identity ON items (identity)",
        *(f"CREATE INDEX items_{name} ON items ({name})" for name in names),
    ]


def all_columns(columns: Columns) -> list[str]:
    """Return the columns of a whole row, in the order of `row_values`."""
    fields = [column.name for column in columns.values()]
    return [
        "label",
        "checksum",
        "name_checksum",
        "id",
        "identity",
        "metadata",
        "created_us",
        "pictured",
        *fields,
        "vector",
    ]


def row_values(label: int, row: Row, created_us: int) -> list[Any]:
    """Return the values of a whole row."""
    vector = row.vector.astype("<f4", copy=False).tobytes()
    pictured = int(row.picture is not None)  # or a lost picture could be one that never was
    values = [row.id, row.identity, row.metadata, created_us, pictured, *row.fields, vector]
    return sealed(label, values)


def sealed(label: int, values: Sequence[Any]) -> list[Any]:
    """Return a whole row: its label, its checksums, and the values from its id on, of which they are."""
    name = _name_checksum(label, values[0], values[1])
    return [label, _checksum(name, values), name, *values]


def _name_checksum(label: int, item_id: Any, identity: Any) -> int:
    return zlib.crc32(repr((label, item_id, identity)).encode())


def _checksum(name: int, values: Sequence[Any]) -> int:
    _, _, *texts, vector = values
    return zlib.crc32(vector, zlib.crc32(repr(texts).encode(), name))


def checked(values: Sequence[Any], path: Path) -> Sequence[Any]:
    """Return a whole row, as `all_columns` has it, that is as it was written.

    Raises:
        DamageError: it is not; with its id and label, and what to do.
    """
    if not is_right(values):
        raise damaged_item(path, name_of(values), values[0])
    return values


def is_right(values: Sequence[Any]) -> bool:
    """Return whether a whole row is as it was written."""
    label, *sums = values[: 1 + _CHECKSUMS]
    others = values[1 + _CHECKSUMS :]
    if not isinstance(others[-1], bytes):
        return False
    name = _name_checksum(label, others[0], others[1])
    return sums == [_checksum(name, others), name]


def name_of(values: Sequence[Any]) -> str:
    """Return the id of a whole row, which may be damaged: what is no text in it is "?"."""
    return str(values[1 + _CHECKSUMS]).encode(errors="replace").decode()


def checked_name(
    path: Path, label: int, expected: Any, item_id: Any, identity: Any
) -> tuple[str, str | None]:
    """Return the id and the identity of a row, read without the rest of it.

    Raises:
        DamageError: they are not as they were written.
    """
    if expected != _name_checksum(label, item_id, identity):
        raise damaged_item(path, str(item_id), label)
    return item_id, identity


def stored_item(values: Sequence[Any], *, with_vector: bool) -> StoredItem:
    """Return the item that a whole row holds."""
    _, _, _, item_id, identity, metadata, *_, vector = values
    floats = np.frombuffer(vector, dtype="<f4").astype(np.float32) if with_vector else None
    return StoredItem(item_id, identity, orjson.loads(metadata), floats)


def config_to_json(config: CollectionConfig) -> str:
    """Return the configuration as JSON; the order of its fields is that of their columns."""
    plain = dataclasses.replace(
        config, fields=dict(config.fields), quality=dict(config.quality), index=dict(config.index)
    )
    return orjson.dumps(dataclasses.asdict(plain)).decode()


def config_checksum(text: str) -> int:
    """Return the CRC-32 of the version of the tables and of a configuration as JSON."""
    return zlib.crc32(repr((SCHEMA_VERSION, text)).encode())


def config_from_json(text: str) -> CollectionConfig:
    """Read what `config_to_json` wrote.

    Raises:
        TypeError, ValueError, InvalidFieldsError: it is something else.
    """
    return CollectionConfig(**orjson.loads(text))
