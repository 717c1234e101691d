"""What a record says of itself: the version of its tables, its configuration, how many items it has."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.errors import DamageError, InvalidFieldsError, StorageError
from service.gallery import schema, trees
from service.gallery.collection import CollectionConfig
from service.gallery.damage import DamagedRows, restore_advice

__all__ = [
    "META_KEYS",
    "config_meta",
    "config_of",
    "count_of",
    "create_tables",
    "read_config",
    "read_damaged",
]

META_KEYS = frozenset({"schema_version", "config", "config_checksum", "items"})  # `unwiped` comes and goes


def create_tables(connection: sqlite3.Connection, config: CollectionConfig) -> None:
    """Make the tables of an empty record."""
    for statement in trees.statements(config):
        connection.execute(statement)
    meta = {**config_meta(config), "items": 0}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def config_meta(config: CollectionConfig) -> dict[str, str | int]:
    """Return what is written of a configuration: the version of the tables, itself, and their checksum."""
    text = schema.config_to_json(config)
    return {
        "schema_version": schema.SCHEMA_VERSION,
        "config": text,
        "config_checksum": schema.config_checksum(text),
    }


def config_of(meta: Mapping[str, Any]) -> CollectionConfig | None:
    """Return the configuration of which `config_meta` was written; None where it is not as it was written."""
    text = str(meta.get("config"))
    if meta.get("schema_version") != schema.SCHEMA_VERSION or not _has_checksum(meta):
        return None
    try:
        return schema.config_from_json(text)
    except (TypeError, ValueError, InvalidFieldsError):
        return None


def read_config(connection: sqlite3.Connection, path: Path) -> CollectionConfig:
    """Return the configuration, once the tables are found to be those that it makes.

    Raises:
        DamageError: they are not, or it is damaged.
        StorageError: it is of another version of this program.
    """
    try:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
    except sqlite3.OperationalError as error:
        raise _damage(path, error) from error
    version = meta.get("schema_version")
    if isinstance(version, int) and version != schema.SCHEMA_VERSION and not _has_checksum(meta):
        raise StorageError(
            f"{path} has schema version {version}, and this program reads {schema.SCHEMA_VERSION}; "
            "open it with the version of this program that wrote it."
        )
    config = config_of(meta)
    if config is None:
        raise _damage(path, "its configuration is not as it was written")
    if not trees.are_right(trees.layout_in(connection), config):
        raise _damage(path, "its tables are others than were made")
    return config


def count_of(connection: sqlite3.Connection) -> int:
    """Return how many items it says that there are; -1 where what it says is no number."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'items'").fetchone()
    return row[0] if row and isinstance(row[0], int) else -1


def read_damaged(connection: sqlite3.Connection) -> DamagedRows:
    """Return the rows that were left out because they were damaged."""
    rows = connection.execute("SELECT label, id, identity FROM damaged ORDER BY label")
    return {label: (item_id, identity) for label, item_id, identity in rows}


def _has_checksum(meta: Mapping[str, Any]) -> bool:
    """Return whether its checksum is that of its configuration and of this version of the tables."""
    checksum = schema.config_checksum(str(meta.get("config")))
    return bool(meta.get("config_checksum") == checksum)


def _damage(path: Path, what: object) -> DamageError:
    return DamageError(f"{path}: {what}. It is damaged or not a collection's. {restore_advice(path)}")
