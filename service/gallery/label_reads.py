"""Labels out of SQLite in bulk: as one text of SQLite's, in less than half the time of a loop over rows."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

__all__ = ["Labels", "Members", "json_list", "labels_in", "labels_of", "members", "rows_up_to"]

Labels: TypeAlias = npt.NDArray[np.int64]
Parameters: TypeAlias = Sequence[str | int | float]


class Members(NamedTuple):
    """The (N,) labels of the rows that have an identity, ascending, and the number of each one's."""

    labels: Labels
    numbers: Labels


def labels_of(connection: sqlite3.Connection, rows: str, parameters: Parameters = ()) -> Labels:
    """Return the labels of some rows: what stands behind FROM."""
    return _column(connection, "label", rows, parameters)


def members(connection: sqlite3.Connection, *, up_to: int) -> tuple[Members, int]:
    """Return who belongs together up to a label, and how many rows there are, with an identity or without.

    The names are not read. The connection sees one commit throughout.
    """
    named = "items INDEXED BY items_identity WHERE identity IS NOT NULL"
    labels = labels_of(connection, f"(SELECT label FROM {named} ORDER BY identity)")
    sizes = _column(connection, "size", f"(SELECT count(*) AS size FROM {named} GROUP BY identity)")
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(labels)
    order = order[labels[order] <= up_to]
    return Members(labels[order], numbers[order]), rows_up_to(connection, up_to)


def rows_up_to(connection: sqlite3.Connection, up_to: int) -> int:
    """Return how many rows there are up to a label."""
    (rows,) = connection.execute(
        "SELECT value - (SELECT count(*) FROM items WHERE label > ?) FROM meta WHERE key = 'items'", [up_to]
    ).fetchone()
    return int(rows)


def _column(connection: sqlite3.Connection, name: str, rows: str, parameters: Parameters = ()) -> Labels:
    (text,) = connection.execute(f"SELECT json_group_array({name}) FROM {rows}", parameters).fetchone()
    return labels_in(text)


def labels_in(text: str) -> Labels:
    """Return (N,) the numbers in a JSON list."""
    return np.array(orjson.loads(text), dtype=np.int64)


def json_list(values: Iterable[int] | Iterable[str]) -> str:
    """Return values as JSON, one parameter however many they are."""
    return orjson.dumps(list(values)).decode()
