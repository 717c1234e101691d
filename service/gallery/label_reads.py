"""Labels out of SQLite in bulk: as one text of SQLite's, in less than half the time of a loop over rows."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from service.gallery.field_values import word_bytes

__all__ = [
    "Labels",
    "Members",
    "Valued",
    "json_list",
    "labels_of",
    "members",
    "rows_up_to",
    "valued",
]

Labels: TypeAlias = npt.NDArray[np.int64]
Parameters: TypeAlias = Sequence[str | int | float]


class Members(NamedTuple):
    """The (N,) labels of the rows that have an identity, ascending, and the number of each one's."""

    labels: Labels
    numbers: Labels


class Valued(NamedTuple):
    """The (N,) labels of some rows, ascending, and what each has of a field.

    Attributes:
        labels: of the rows.
        values: (V,) the different ones.
        places: (N,) of each row's value among them.
    """

    labels: Labels
    values: list[Any]
    places: Labels


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


def valued(connection: sqlite3.Connection, column: str, *, up_to: int, most_word_bytes: int) -> Valued | None:
    """Return the values of a column up to a label, or None where its strings take more than some bytes.

    They come from the column's index, in its order, each different one once. The connection sees one commit.
    """
    indexed = f"items INDEXED BY items_{column}"
    values, counts, taken = [], [], 0
    for value, count in connection.execute(f"SELECT {column}, count(*) FROM {indexed} GROUP BY {column}"):
        taken += word_bytes(value) if isinstance(value, str) else 0
        if taken > most_word_bytes:
            return None
        values.append(value)
        counts.append(count)
    labels = labels_of(connection, f"(SELECT label FROM {indexed} ORDER BY {column})")
    places = np.repeat(np.arange(len(values)), counts)
    order = np.argsort(labels)
    order = order[labels[order] <= up_to]
    return Valued(labels[order], values, places[order])


def rows_up_to(connection: sqlite3.Connection, up_to: int) -> int:
    """Return how many rows there are up to a label."""
    (rows,) = connection.execute(
        "SELECT value - (SELECT count(*) FROM items WHERE label > ?) FROM meta WHERE key = 'items'", [up_to]
    ).fetchone()
    return int(rows)


def _column(connection: sqlite3.Connection, name: str, rows: str, parameters: Parameters = ()) -> Labels:
    (text,) = connection.execute(f"SELECT json_group_array({name}) FROM {rows}", parameters).fetchone()
    return _labels_in(text)


def _labels_in(text: str) -> Labels:
    """Return (N,) the numbers in a JSON list."""
    return np.array(orjson.loads(text), dtype=np.int64)


def json_list(values: Iterable[int] | Iterable[str]) -> str:
    """Return values as JSON, one parameter however many they are."""
    return orjson.dumps(list(values)).decode()
