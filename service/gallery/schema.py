"""How the record lies in SQLite: its tables, and a row as a tuple of values."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson

from service.errors import StorageError
from service.gallery.collection import CollectionConfig, StoredItem, Vectors
from service.gallery.filter_sql import Column

__all__ = [
    "SCHEMA_VERSION",
    "Row",
    "all_columns",
    "checked",
    "checksum",
    "config_from_json",
    "config_to_json",
    "field_columns",
    "row_values",
    "statements",
    "stored_item",
]

SCHEMA_VERSION = 1

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
        "CREATE TABLE items (label INTEGER PRIMARY KEY AUTOINCREMENT, checksum INTEGER NOT NULL, "
        "id TEXT NOT NULL UNIQUE, identity TEXT, metadata TEXT NOT NULL, created_us INTEGER NOT NULL, "
        + "".join(f"{name}, " for name in names)
        + "vector BLOB NOT NULL)",
        "CREATE INDEX items_identity ON items (identity)",
        *(f"CREATE INDEX items_{name} ON items ({name})" for name in names),
    ]


def all_columns(columns: Columns) -> list[str]:
    """Return the columns of a whole row, in the order of `row_values`."""
    fields = [column.name for column in columns.values()]
    return ["label", "checksum", "id", "identity", "metadata", "created_us", *fields, "vector"]


def row_values(label: int, row: Row, created_us: int) -> list[Any]:
    """Return the values of a whole row."""
    vector = row.vector.astype("<f4", copy=False).tobytes()
    values = [row.id, row.identity, row.metadata, created_us, *row.fields, vector]
    return [label, checksum(label, values), *values]


def checksum(label: int, values: Sequence[Any]) -> int:
    """Return the CRC-32 of a row's label and of all that stands behind its checksum."""
    *texts, vector = values
    return zlib.crc32(vector, zlib.crc32(repr((label, *texts)).encode()))


def checked(values: Sequence[Any], path: Path) -> Sequence[Any]:
    """Return a whole row, as `all_columns` has it, that is as it was written.

    Raises:
        StorageError: it is not; with its id and label, and what to do.
    """
    label, expected, *others = values
    if expected != checksum(label, others):
        raise StorageError(
            f"{path}: the item {others[0]!r} (label {label}) is damaged; delete it and enrol it again, or "
            "restore the collection from a backup."
        )
    return values


def stored_item(values: Sequence[Any], *, with_vector: bool) -> StoredItem:
    """Return the item that a whole row holds."""
    _, _, item_id, identity, metadata, *_, vector = values
    floats = np.frombuffer(vector, dtype="<f4").astype(np.float32) if with_vector else None
    return StoredItem(item_id, identity, orjson.loads(metadata), floats)


def config_to_json(config: CollectionConfig) -> str:
    """Return the configuration as JSON; the order of its fields is that of their columns."""
    plain = dataclasses.replace(
        config, fields=dict(config.fields), quality=dict(config.quality), index=dict(config.index)
    )
    return orjson.dumps(dataclasses.asdict(plain)).decode()


def config_from_json(text: str) -> CollectionConfig:
    """Read what `config_to_json` wrote.

    Raises:
        TypeError, ValueError, InvalidFieldsError: it is something else.
    """
    return CollectionConfig(**orjson.loads(text))
