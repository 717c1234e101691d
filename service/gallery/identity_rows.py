"""The rows of identities: who is in a collection, and two that turn out to be one."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from service.gallery import schema
from service.gallery.collection import Vectors
from service.gallery.filter_sql import Column
from service.gallery.identities import Identity
from service.gallery.inserting import insert_items
from service.gallery.label_reads import json_list
from service.gallery.pictures import move_pictures

__all__ = ["Moved", "identities", "identity", "moved"]


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows that were written anew.

    Attributes:
        before: the labels that they had.
        labels: those that they have now.
        vectors: (N, D) theirs.
        damaged: id by label of the rows that were not, being damaged.
    """

    before: list[int]
    labels: list[int]
    vectors: Vectors
    damaged: dict[int, str | None]


_COLUMNS = "identity, count(*), min(created_us), max(created_us)"


def identities(
    connection: sqlite3.Connection, *, after: str, limit: int, left_out: Collection[int]
) -> list[Identity]:
    """Return up to `limit` identities after a name, in the order of their names, of rows that count."""
    others, labels = _others(left_out)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM items WHERE identity > ?{others} "
        "GROUP BY identity ORDER BY identity LIMIT ?",
        [after, *labels, limit],
    )
    return [Identity(*row) for row in rows]


def identity(connection: sqlite3.Connection, name: str, *, left_out: Collection[int]) -> Identity | None:
    """Return an identity, or None where no row that counts has it."""
    others, labels = _others(left_out)
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM items WHERE identity = ?{others}", [name, *labels]
    ).fetchone()
    return Identity(*row) if row[1] else None


def _others(left_out: Collection[int]) -> tuple[str, list[str]]:
    """Return what a condition goes on with so that some labels do not count, and its parameters."""
    if not left_out:
        return "", []
    return " AND label NOT IN (SELECT value FROM json_each(?))", [json_list(left_out)]


def moved(
    connection: sqlite3.Connection,
    name: str,
    into: str,
    *,
    fields: Mapping[str, Column],
    dimension: int,
    pictures: bool,
) -> Moved:
    """Write the rows of an identity anew, as another's; the ones before are still there, with ids of none.

    A row never changes under its label: so what was remembered of it, and an index that holds it, stays
    right. Ids are unique, so the rows before get others, which no item can have.

    A damaged row must not get checksums that fit: it stays under its label, and gets nothing but the name of
    the other, so that whoever erases that erases it too.
    """
    columns = schema.all_columns(fields)
    found = connection.execute(
        f"SELECT {', '.join(columns)} FROM items WHERE identity = ? ORDER BY label", [name]
    ).fetchall()
    rows = [row for row in found if schema.is_right(row)]
    damaged: dict[int, str | None] = {
        row[0]: schema.name_of(row) for row in found if not schema.is_right(row)
    }
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
    before = [row[0] for row in rows]
    labels = list(range(last + 1, last + 1 + len(rows)))
    connection.executemany("UPDATE items SET id = '/' || label WHERE label = ?", ([one] for one in before))
    place, first = columns.index("identity"), columns.index("id")
    written = []
    for label, row in zip(labels, rows, strict=True):
        values = list(row)
        values[place] = into
        written.append(schema.sealed(label, values[first:]))
    insert_items(connection, columns, written)
    connection.executemany("UPDATE items SET identity = ? WHERE label = ?", ([into, one] for one in damaged))
    if pictures:
        move_pictures(connection, dict(zip(before, labels, strict=True)))
    vectors = np.array([np.frombuffer(row[-1], dtype="<f4") for row in rows], dtype=np.float32)
    return Moved(before, labels, vectors.reshape(len(rows), dimension), damaged)
