"""The record of a collection: what was written, durable, and the truth that the index is built from."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from service.errors import InvalidFieldsError, StorageError
from service.gallery import schema
from service.gallery.collection import CollectionConfig, StoredItem, Vectors
from service.gallery.fields import BUILT_IN_FIELDS
from service.gallery.filter_reads import FilterReads
from service.gallery.filter_sql import Column
from service.gallery.identities import Identity
from service.gallery.identity_rows import identities, identity
from service.gallery.label_reads import Labels, Members, json_list, labels_of, members
from service.gallery.pictures import picture_statements, read_picture
from service.gallery.record_writer import RecordWriter
from service.gallery.remembered import RememberedNames
from service.gallery.sqlite import Database

__all__ = ["Labels", "Record"]

_CHUNK_ROWS = 4096

_BUILT_IN_COLUMNS = {name: Column(name, "keyword") for name in BUILT_IN_FIELDS}


class Record:
    """The items of one collection in one SQLite file.

    A label names one version of an item: it grows with every write and is never used again, so a label
    found anywhere else means exactly this row or none.
    """

    def __init__(self, path: Path) -> None:
        """Open an existing record.

        Raises:
            StorageError: it is missing, damaged, or of a newer version of this program.
        """
        with _other_schemas(path):
            self._database = Database(path)
            self._names = RememberedNames()
            try:
                self.config = self._read_config()
                self._fields = schema.field_columns(self.config)
                self._columns = {**_BUILT_IN_COLUMNS, **self._fields}
                self.filters = FilterReads(self._database, self._columns)
                self._select = f"SELECT {', '.join(schema.all_columns(self._fields))} FROM items"
                self._check_columns()
            except BaseException:
                self._database.close()
                raise

    @classmethod
    def create(cls, path: Path, config: CollectionConfig) -> "Record":
        """Make an empty record in a new file."""
        database = Database(path, create=True)
        try:
            with database.writing() as connection:
                kept = picture_statements() if config.keep_images else []
                for statement in [*schema.statements(schema.field_columns(config)), *kept]:
                    connection.execute(statement)
                meta = {
                    "schema_version": schema.SCHEMA_VERSION,
                    "config": schema.config_to_json(config),
                    "items": 0,
                }
                connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        finally:
            database.close()
        return cls(path)

    @contextlib.contextmanager
    def writing(self) -> Iterator["RecordWriter"]:
        """Give a writer whose changes are on the disk, all together, when the block is left.

        Raises:
            StorageError: the disk refused; nothing was changed.
        """
        with self._database.writing() as connection:
            writer = RecordWriter(connection, self._fields, self._columns)
            yield writer
        self._names.forget(writer.removed)

    def labels(self) -> Labels:
        """Return the label of every row, ascending; read from an index, not from the rows."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT label FROM items INDEXED BY items_identity")
            return np.sort(np.fromiter((label for (label,) in rows), dtype=np.int64))

    def scan(self, after: int = 0) -> Iterator[tuple[Labels, Vectors]]:
        """Yield label and vector of every row above a label in the order of writing, some thousand at a time.

        Raises:
            StorageError: a row does not match its checksum, or rows are missing.
        """
        count = 0
        with self._database.reading() as connection:
            rows = connection.execute(f"{self._select} WHERE label > ? ORDER BY label", [after])
            while chunk := rows.fetchmany(_CHUNK_ROWS):
                vectors = np.empty((len(chunk), self.config.dimension), dtype=np.float32)
                for vector, row in zip(vectors, chunk, strict=True):
                    vector[:] = np.frombuffer(self._checked(row)[-1], dtype="<f4")
                count += len(chunk)
                yield np.array([row[0] for row in chunk], dtype=np.int64), vectors
            (expected,) = connection.execute("SELECT value FROM meta WHERE key = 'items'").fetchone()
        if count != expected and not after:
            raise StorageError(
                f"{self._database.path} holds {count} items where {expected} were written; "
                "restore the collection from a backup."
            )

    def members(self, *, up_to: int) -> tuple[Members, int]:
        """Return who belongs together up to a label, and how many rows there are; see `members`."""
        with self._database.reading() as connection:
            return members(connection, up_to=up_to)

    def labels_named(self, ids: Iterable[str]) -> Labels:
        """Return the labels of the rows of some ids, in no order."""
        with self._database.reading() as connection:
            return labels_of(
                connection, "items WHERE id IN (SELECT value FROM json_each(?))", [json_list(ids)]
            )

    def names(self, labels: Iterable[int]) -> dict[int, tuple[str, str | None]]:
        """Return id and identity of each label that is there, or was there when it was last asked for."""
        wanted = set(labels)
        known = self._names.known(wanted)
        if len(known) == len(wanted):
            return known
        with self._database.reading(once=True) as connection:
            # One row in all: for each row that is stepped to, the interpreter may change hands.
            (found,) = connection.execute(
                "SELECT json_group_array(json_array(label, id, identity)) FROM items "
                "WHERE label IN (SELECT value FROM json_each(?))",
                [json_list(wanted - known.keys())],
            ).fetchone()
        read = {label: (name, identity) for label, name, identity in orjson.loads(found)}
        self._names.learn(read)
        return known | read

    def items(self, labels: Iterable[int], *, with_vector: bool = False) -> dict[int, StoredItem]:
        """Return the item of each label that is there; StorageError names one that is damaged."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{self._select} WHERE label IN (SELECT value FROM json_each(?))", [json_list(labels)]
            )
            return {row[0]: self._item(row, with_vector=with_vector) for row in rows}

    def get(self, item_id: str, *, with_vector: bool = False) -> StoredItem | None:
        """Return one item, or None; StorageError where it is damaged."""
        with self._database.reading() as connection:
            row = connection.execute(f"{self._select} WHERE id = ?", [item_id]).fetchone()
        return None if row is None else self._item(row, with_vector=with_vector)

    def picture(self, item_id: str) -> bytes | None:
        """Return the picture that was kept of an item, or None."""
        if not self.config.keep_images:
            return None
        with self._database.reading() as connection:
            return read_picture(connection, item_id)

    def after(
        self, label: int, *, limit: int, identity: str | None, with_vector: bool = False
    ) -> list[tuple[int, StoredItem]]:
        """Return up to `limit` items written after a label, of one identity where it is given."""
        of_identity = "" if identity is None else "AND identity = :identity"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{self._select} WHERE label > :label {of_identity} ORDER BY label LIMIT :limit",
                {"label": label, "identity": identity, "limit": limit},
            )
            return [(row[0], self._item(row, with_vector=with_vector)) for row in rows]

    def identities(self, *, after: str, limit: int) -> list[Identity]:
        """Return up to `limit` identities after a name, in the order of their names."""
        with self._database.reading() as connection:
            return identities(connection, after=after, limit=limit)

    def identity(self, name: str) -> Identity | None:
        """Return an identity, or None where no item has it."""
        with self._database.reading() as connection:
            return identity(connection, name)

    def checkpoint(self) -> bool:
        """Bring all into the one file; see `Database.checkpoint`."""
        return self._database.checkpoint()

    def wipe(self) -> bool:
        """Leave nothing in the files of what was deleted; return whether nobody's reading was in the way.

        What is deleted SQLite writes over, but where rows and entries of an index move between its pages
        copies of them stay behind: so all pages are written anew.
        """
        self._database.write_anew()
        return self._database.checkpoint()

    def unwiped(self) -> bool:
        """Return whether something was erased, and it is not known that the files hold nothing of it."""
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM meta WHERE key = 'unwiped'").fetchone() is not None

    def note_wiped(self) -> None:
        """Note that they hold nothing of it."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM meta WHERE key = 'unwiped'")

    def close(self, *, dropped: bool = False) -> None:
        """Wait for whoever is reading or writing, and close; `dropped` says why to those who come later."""
        self._database.close(dropped=dropped)

    def refuse_if_closed(self) -> None:
        """Raise what every call raises once it is closed; see `Database`."""
        self._database.refuse_if_closed()

    def _checked(self, row: Sequence[Any]) -> Sequence[Any]:
        row = schema.checked(row, self._database.path)
        if len(row[-1]) != 4 * self.config.dimension:
            raise StorageError(f"{self._database.path}: the item {row[2]!r} has a vector of another length.")
        return row

    def _item(self, row: Sequence[Any], *, with_vector: bool) -> StoredItem:
        return schema.stored_item(self._checked(row), with_vector=with_vector)

    def _read_config(self) -> CollectionConfig:
        path = self._database.path
        with self._database.reading() as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
        version = meta.get("schema_version")
        if version != schema.SCHEMA_VERSION:
            raise StorageError(
                f"{path} has schema version {version}, and this program reads {schema.SCHEMA_VERSION}; "
                "open it with the version of this program that wrote it."
            )
        try:
            return schema.config_from_json(meta["config"])
        except (KeyError, TypeError, ValueError, InvalidFieldsError) as error:
            raise StorageError(
                f"{path} holds no configuration that can be read; restore it from a backup."
            ) from error

    def _check_columns(self) -> None:
        """Let SQLite compile a statement that needs every column."""
        with self._database.reading() as connection:
            connection.execute(f"{self._select} LIMIT 0")


@contextlib.contextmanager
def _other_schemas(path: Path) -> Iterator[None]:
    """Raise it as damage where a statement does not fit the file while it is opened."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"{path}: {error}. The file is damaged or not a collection's: restore it from a backup."
        ) from error
