"""The changes of one transaction of a record."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.gallery import schema
from service.gallery.collection import CollectionConfig
from service.gallery.damage import DamagedRows
from service.gallery.filter_sql import Column, filter_sql
from service.gallery.filters import Filter
from service.gallery.identity_rows import Moved, moved
from service.gallery.inserting import insert_items
from service.gallery.label_reads import json_list
from service.gallery.packed_names import Name
from service.gallery.pictures import write_pictures
from service.gallery.sqlite import savepoint

__all__ = ["RecordWriter", "Replaced"]


@dataclass(frozen=True, slots=True)
class Replaced:
    """What writing rows did: their labels in order, and the label that each replaced id had before."""

    labels: list[int]
    before: dict[str, int]


class RecordWriter:
    """The changes of one transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        fields: Mapping[str, Column],
        columns: Mapping[str, Column],
        damaged: DamagedRows,
    ) -> None:
        self._connection = connection
        self._fields, self._columns, self.damaged = fields, columns, damaged
        self.removed: list[int] = []
        self.named: dict[int, Name] = {}
        self.forgotten: set[int] = set()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Give a block that is undone alone where it raises, and with it what was noted of it."""
        removed, named, forgotten = len(self.removed), len(self.named), set(self.forgotten)
        damaged = self.damaged
        try:
            with savepoint(self._connection):
                yield
        except BaseException:
            del self.removed[removed:]
            for label in list(self.named)[named:]:  # each under a new label, so the last ones came last
                del self.named[label]
            self.forgotten, self.damaged = forgotten, damaged
            raise

    def replace(self, rows: Sequence[schema.Row]) -> Replaced:
        """Write rows of distinct ids, each under a new label, in place of those that have these ids."""
        there = self._labels([row.id for row in rows])
        self.forget(ids={row.id for row in rows})
        held = {*self._delete(there.values())}
        before = {item_id: label for item_id, label in there.items() if label in held}
        (last,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        labels = list(range(last + 1, last + 1 + len(rows)))
        created_us = time.time_ns() // 1000
        values = (schema.row_values(label, row, created_us) for label, row in zip(labels, rows, strict=True))
        insert_items(self._connection, schema.all_columns(self._fields), values)
        kept = [
            (label, row.picture) for label, row in zip(labels, rows, strict=True) if row.picture is not None
        ]
        if kept:
            write_pictures(self._connection, kept)
        self._count(len(rows))
        self.named |= {label: (row.id, row.identity) for label, row in zip(labels, rows, strict=True)}
        return Replaced(labels, before)

    def delete(self, ids: Iterable[str]) -> list[int]:
        """Delete the rows of these ids and return the labels they had, but those of damaged ones."""
        return self._delete(self._labels(ids).values())

    def delete_where(self, condition: Filter) -> list[int]:
        """Delete the rows that pass and return the labels they had, but those of damaged ones."""
        sql, parameters = filter_sql(condition, self._columns)
        rows = self._connection.execute(f"SELECT label FROM items WHERE {sql}", parameters)
        return self._delete([label for (label,) in rows])

    def forget(self, *, ids: Collection[str] = (), identity: str | None = None) -> None:
        """Forget the damaged rows of some ids, or of an identity, of which only the names are left.

        Those that are still there are forgotten when they are deleted.
        """
        gone = {
            label
            for label, (item_id, whose) in self.damaged.items()
            if item_id in ids or (identity is not None and whose == identity)
        }
        for label in gone - self.forgotten:
            if self._connection.execute("DELETE FROM damaged WHERE label = ?", [label]).rowcount:
                self.forgotten.add(label)

    def note_unwiped(self) -> None:
        """Note that files may hold something of what is deleted, until `Record.note_wiped`."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('unwiped', 1)")

    def move(self, name: str, into: str, config: CollectionConfig) -> Moved:
        """Give an identity's rows to another, under new labels; its damaged ones in name alone."""
        rows = moved(
            self._connection,
            name,
            into,
            fields=self._fields,
            dimension=config.dimension,
            pictures=config.keep_images,
        )
        held = self._delete(rows.before)
        self._count(len(rows.labels))
        known = self._rename_damaged(name, into, rows.damaged)
        return Moved(held, rows.labels, rows.vectors, {**known, **rows.damaged})

    def _rename_damaged(self, name: str, into: str, met: Collection[int]) -> dict[int, str | None]:
        """Give the damaged rows of an identity, known ones and met, to another; return ids of the known."""
        self._connection.execute("UPDATE damaged SET identity = ? WHERE identity = ?", [into, name])
        known = {
            label: item_id
            for label, (item_id, whose) in self.damaged.items()
            if (whose == name or label in met) and label not in self.forgotten
        }
        self.damaged = {**self.damaged, **{label: (item_id, into) for label, item_id in known.items()}}
        return known

    def _labels(self, ids: Iterable[str]) -> dict[str, int]:
        return dict(
            self._connection.execute(
                "SELECT id, label FROM items WHERE id IN (SELECT value FROM json_each(?))", [json_list(ids)]
            )
        )

    def _delete(self, labels: Collection[int]) -> list[int]:
        """Delete rows and return their labels, but those of damaged ones, which are forgotten."""
        self._connection.executemany("DELETE FROM items WHERE label = ?", ([label] for label in labels))
        held = [label for label in labels if label not in self.damaged]
        self.forgotten |= self.damaged.keys() & labels
        self.removed += held
        self._count(-len(labels))
        return held

    def _count(self, change: int) -> None:
        self._connection.execute("UPDATE meta SET value = value + ? WHERE key = 'items'", [change])
