"""The record of a collection: what was written, durable, and the truth that the index is built from."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import DamagedItemError, DamageError
from service.gallery import schema
from service.gallery.checking import Checker
from service.gallery.collection import CollectionConfig, StoredItem, Vectors
from service.gallery.damage import (
    RESTORE,
    DamagedRows,
    damaged_item,
    kept_files,
    refuse_damaged,
    refuse_unordered,
)
from service.gallery.fields import BUILT_IN_FIELDS
from service.gallery.filter_reads import FilterReads
from service.gallery.filter_sql import Column
from service.gallery.folders import refusals
from service.gallery.identities import Identity
from service.gallery.identity_rows import identities, identity
from service.gallery.label_reads import Labels, Members, json_list, labels_of, members
from service.gallery.pictures import read_picture
from service.gallery.record_meta import count_of, create_tables, read_config, read_damaged
from service.gallery.record_names import RecordNames
from service.gallery.record_writer import RecordWriter
from service.gallery.sqlite import Database
from service.gallery.stoppable import stoppable

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
            StorageError: it is missing or damaged (DamageError), or of another version of this program.
        """
        self._database = Database(path)
        self.names = RecordNames(self._database)
        try:
            with self._database.reading() as connection:
                self.config = read_config(connection, path)
                self.damaged: DamagedRows = read_damaged(connection)
            self._left_out: frozenset[int] = frozenset()
            self.checker = Checker(self._database, self.config)
            self._fields = schema.field_columns(self.config)
            self._columns = {**_BUILT_IN_COLUMNS, **self._fields}
            self.filters = FilterReads(self._database, self._columns, lambda: self._left_out)
            self._select = f"SELECT {', '.join(schema.all_columns(self._fields))} FROM items"
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def create(cls, path: Path, config: CollectionConfig) -> "Record":
        """Make an empty record in a new file."""
        database = Database(path, create=True)
        try:
            with database.writing() as connection:
                create_tables(connection, config)
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
            writer = RecordWriter(connection, self._fields, self._columns, self.damaged)
            yield writer
        self.names.learn(writer.named)
        self.names.forget(writer.removed)
        # Not asked of the file again: it is written, and whoever wrote must hear so.
        if writer.forgotten or writer.damaged is not self.damaged:
            self.damaged = {
                label: row for label, row in writer.damaged.items() if label not in writer.forgotten
            }
            self._left_out -= writer.forgotten

    def leave_out(self, rows: DamagedRows) -> None:
        """Count rows as damaged that are still there: what is asked for from now on goes past them.

        They stay as they are in the file, which is mended at the next start; one writer's turn at a time.
        """
        self.damaged = {**self.damaged, **rows}
        self._left_out |= rows.keys()

    def present(self, labels: Iterable[int]) -> set[int]:
        """Return which of some labels there are rows of."""
        with self._database.reading() as connection:
            among = "items WHERE label IN (SELECT value FROM json_each(?))"
            return {*labels_of(connection, among, [json_list(labels)]).tolist()}

    def labels(self, go_on: Callable[[], None] = lambda: None) -> Labels:
        """Return the label of every row, ascending; read from an index, not from the rows.

        What `go_on`, which is called often, raises ends it.

        Raises:
            DamageError: there are more or fewer than were written.
        """
        with self._database.reading() as connection, stoppable(go_on, connection):
            rows = connection.execute("SELECT label FROM items INDEXED BY items_identity")
            labels = np.sort(np.fromiter((label for (label,) in rows), dtype=np.int64))
            self._refuse_other_count(len(labels), count_of(connection))
            return labels

    def scan(self, after: int = 0) -> Iterator[tuple[Labels, Vectors]]:
        """Yield label and vector of every row above a label in the order of writing, some thousand at a time.

        Raises:
            DamageError: a row does not match its checksum, or rows are missing.
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
            if not after:
                self._refuse_other_count(count, count_of(connection))

    def members(self, *, up_to: int) -> tuple[Members, int]:
        """Return who belongs together up to a label, and how many rows there are; see `members`."""
        with self._database.reading() as connection:
            found, rows = members(connection, up_to=up_to)
        if left_out := self._left_out:
            kept = ~np.isin(found.labels, [*left_out])
            found = Members(found.labels[kept], found.numbers[kept])
        return found, rows - sum(label <= up_to for label in left_out)

    def labels_named(self, ids: Iterable[str]) -> Labels:
        """Return the labels of the rows of some ids, in no order."""
        with self._database.reading() as connection:
            return labels_of(
                connection, "items WHERE id IN (SELECT value FROM json_each(?))", [json_list(ids)]
            )

    def items(self, labels: Iterable[int], *, with_vector: bool = False) -> dict[int, StoredItem]:
        """Return the item of each label that is there; DamageError names one that is damaged."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{self._select} WHERE label IN (SELECT value FROM json_each(?))", [json_list(labels)]
            )
            return {row[0]: self._item(row, with_vector=with_vector) for row in rows}

    def get(self, item_id: str, *, with_vector: bool = False) -> StoredItem | None:
        """Return one item, or None; DamagedItemError where it is damaged."""
        with self._database.reading() as connection:
            row = connection.execute(f"{self._select} WHERE id = ?", [item_id]).fetchone()
        if row is None or row[0] in self._left_out:
            refuse_damaged(self._database.path, self.damaged, {item_id})
        return None if row is None else self._item(row, with_vector=with_vector)

    def picture(self, item_id: str) -> bytes | None:
        """Return the picture that was kept of an item, or None."""
        if not self.config.keep_images:
            return None
        refuse_damaged(self._database.path, self.damaged, {item_id})
        with self._database.reading() as connection:
            return read_picture(connection, item_id)

    def after(
        self, label: int, *, limit: int, identity: str | None, with_vector: bool = False
    ) -> list[tuple[int, StoredItem | DamagedItemError]]:
        """Return up to `limit` items written after a label, of one identity where it is given.

        One that is damaged is its error.

        Raises:
            DamageError: a page above the rows leads back.
        """
        of_identity = "" if identity is None else "AND identity = :identity"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{self._select} WHERE label > :label {of_identity} ORDER BY label LIMIT :limit",
                {"label": label, "identity": identity, "limit": limit},
            )
            found = [
                (
                    row[0],
                    self._item(row, with_vector=with_vector)
                    if schema.is_right(row)
                    else damaged_item(self._database.path, schema.name_of(row), row[0]),
                )
                for row in rows
            ]
        refuse_unordered(self._database.path, "items", [label, *(place for place, _ in found)])
        return found

    def identities(self, *, after: str, limit: int) -> list[Identity]:
        """Return up to `limit` identities after a name, in the order of their names.

        Raises:
            DamageError: their index has them in another order.
        """
        with self._database.reading() as connection:
            found = identities(connection, after=after, limit=limit, left_out=self._left_out)
        refuse_unordered(self._database.path, "identities", [after, *(one.name for one in found)])
        return found

    def identity(self, name: str) -> Identity | None:
        """Return an identity, or None where no item has it."""
        with self._database.reading() as connection:
            return identity(connection, name, left_out=self._left_out)

    def checkpoint(self) -> bool:
        """Bring all into the one file; see `Database.checkpoint`."""
        return self._database.checkpoint()

    def shorten_log(self) -> None:
        """Empty SQLite's log where it is too long; see `Database.shorten_log`."""
        self._database.shorten_log()

    def write_anew(self) -> None:
        """Leave nothing of what was deleted in any page; what the log has of it goes with `checkpoint`.

        What is deleted SQLite writes over, but where rows and entries of an index move between its pages
        copies of them stay behind: so all pages are written anew.
        """
        with refusals(self._database.path.parent):
            for file in kept_files(self._database.path):
                file.unlink(missing_ok=True)
        self._database.write_anew()

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
        return schema.checked(row, self._database.path)

    def _refuse_other_count(self, count: int, expected: int) -> None:
        if count != expected:
            raise DamageError(
                f"{self._database.path} holds {count} items where {expected} were written; {RESTORE}."
            )

    def _item(self, row: Sequence[Any], *, with_vector: bool) -> StoredItem:
        return schema.stored_item(self._checked(row), with_vector=with_vector)
