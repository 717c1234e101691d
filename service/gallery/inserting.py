"""Writing whole rows of items."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

__all__ = ["insert_items"]

_AT_ONCE = (
    50  # rows of one statement: for each statement the interpreter changes hands, and SQLite begins anew
)


def insert_items(
    connection: sqlite3.Connection, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Write rows of items.

    Args:
        connection: in a transaction.
        columns: their names.
        rows: the values of each, in their order; they are asked for as they are written.
    """
    into, marks = f"INSERT INTO items ({', '.join(columns)}) VALUES ", f"({', '.join('?' * len(columns))})"
    coming = iter(rows)
    while len(some := [*islice(coming, _AT_ONCE)]) == _AT_ONCE:
        connection.execute(into + ", ".join([marks] * _AT_ONCE), [*chain.from_iterable(some)])
    connection.executemany(into + marks, some)
