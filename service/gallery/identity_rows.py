"""The rows of identities: who is in a collection, and two that turn out to be one."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.gallery import schema
from service.gallery.collection import Vectors
from service.gallery.filter_sql import Column
from service.gallery.identities import Identity
from service.gallery.pictures import move_pictures

__all__ = ["Moved", "identities", "identity", "moved"]


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows that were written anew: their labels before and now, and (N, D) their vectors."""

    before: list[int]
    labels: list[int]
    vectors: Vectors


_COLUMNS = "identity, count(*), min(created_us), max(created_us)"


def identities(connection: sqlite3.Connection, *, after: str, limit: int) -> list[Identity]:
    """Return up to `limit` identities after a name, in the order of their names."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM items WHERE identity > ? GROUP BY identity ORDER BY identity LIMIT ?",
        [after, limit],
    )
    return [Identity(*row) for row in rows]


def identity(connection: sqlite3.Connection, name: str) -> Identity | None:
    """Return an identity, or None where no item has it."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM items WHERE identity = ?", [name]).fetchone()
    return Identity(*row) if row[1] else None


def moved(
    connection: sqlite3.Connection,
    name: str,
    into: str,
    *,
    path: Path,
    fields: Mapping[str, Column],
    dimension: int,
    pictures: bool,
) -> Moved:
    """Write the rows of an identity anew, as another's; the ones before are still there, with ids of none.

    A row never changes under its label: so what was remembered of it, and an index that holds it, stays
    right. Ids are unique, so the rows before get others, which no item can have.

    Raises:
        DamageError: one of them is damaged; it must not get checksums that fit.
    """
    columns = schema.all_columns(fields)
    rows = connection.execute(
        f"SELECT {', '.join(columns)} FROM items WHERE identity = ? ORDER BY label", [name]
    ).fetchall()
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
    before = [row[0] for row in rows]
    labels = list(range(last + 1, last + 1 + len(rows)))
    connection.executemany("UPDATE items SET id = '/' || label WHERE label = ?", ([one] for one in before))
    place, first = columns.index("identity"), columns.index("id")
    written = []
    for label, row in zip(labels, rows, strict=True):
        values = list(schema.checked(row, path))
        values[place] = into
        written.append(schema.sealed(label, values[first:]))
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO items ({', '.join(columns)}) VALUES ({marks})", written)
    if pictures:
        move_pictures(connection, dict(zip(before, labels, strict=True)))
    vectors = np.array([np.frombuffer(row[-1], dtype="<f4") for row in rows], dtype=np.float32)
    return Moved(before, labels, vectors.reshape(len(rows), dimension))
