"""What a record says of itself: the version of its tables, its configuration, how many items it has."""

import sqlite3
from pathlib import Path
from typing import Any

from service.errors import DamageError, InvalidFieldsError, StorageError
from service.gallery import schema
from service.gallery.collection import CollectionConfig
from service.gallery.damage import DamagedRows, restore_advice
from service.gallery.pictures import picture_statements

__all__ = ["count_of", "create_tables", "read_config", "read_damaged"]


def create_tables(connection: sqlite3.Connection, config: CollectionConfig) -> None:
    """Make the tables of an empty record."""
    for statement in _statements(config):
        connection.execute(statement)
    text = schema.config_to_json(config)
    meta = {
        "schema_version": schema.SCHEMA_VERSION,
        "config": text,
        "config_checksum": schema.config_checksum(text),
        "items": 0,
    }
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


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
    version, text = meta.get("schema_version"), meta.get("config")
    right = meta.get("config_checksum") == schema.config_checksum(str(text))
    if version != schema.SCHEMA_VERSION and not right:
        raise StorageError(
            f"{path} has schema version {version}, and this program reads {schema.SCHEMA_VERSION}; "
            "open it with the version of this program that wrote it."
        )
    if version != schema.SCHEMA_VERSION or not right:
        raise _damage(path, "its configuration is not as it was written")
    try:
        config = schema.config_from_json(str(text))
    except (TypeError, ValueError, InvalidFieldsError) as error:
        raise _damage(path, "its configuration cannot be read") from error
    if _tables(connection) != _tables_for(config):
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


def _statements(config: CollectionConfig) -> list[str]:
    kept = picture_statements() if config.keep_images else []
    return [*schema.statements(schema.field_columns(config)), *kept]


def _tables(connection: sqlite3.Connection) -> set[tuple[Any, ...]]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def _tables_for(config: CollectionConfig) -> set[tuple[Any, ...]]:
    """Return how SQLite writes down the tables of a configuration."""
    connection = sqlite3.connect(":memory:")
    try:
        for statement in _statements(config):
            connection.execute(statement)
        return _tables(connection)
    finally:
        connection.close()


def _damage(path: Path, what: object) -> DamageError:
    return DamageError(f"{path}: {what}. It is damaged or not a collection's. {restore_advice(path)}")
