"""The pages that hold a record's rows, read one by one: for where SQLite's tree does not lead to them."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["leaf_pages", "one_page_trees"]

_LEAF = b"\x0d"  # the first byte of a page that holds rows of a table: by itself a tree of one page


def leaf_pages(path: Path, page_bytes: int) -> Iterator[int]:
    """Yield the numbers, from 1 on, of the pages that look as if they held rows of some table.

    What lies in a log is not looked at.
    """
    with path.open("rb", buffering=0) as file:
        for number in range(2, os.fstat(file.fileno()).st_size // page_bytes + 1):
            if os.pread(file.fileno(), 1, page_bytes * (number - 1)) == _LEAF:
                yield number


@contextlib.contextmanager
def one_page_trees(connection: sqlite3.Connection) -> Iterator[Callable[[int], None]]:
    """Give what makes a page, by its number, the whole of the table `items`; the file stays as it is.

    Afterwards the table is what it was.
    """
    connection.execute("PRAGMA cache_spill = OFF")  # or what is never committed might be in the log
    connection.execute("BEGIN")

    def begin_at(page: int) -> None:
        # With ON, SQLite also goes past what it does not like of the page before.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = ? WHERE type = 'table' AND name = 'items'", [page]
        )
        connection.execute("PRAGMA writable_schema = RESET")  # the schema is read again

    try:
        yield begin_at
    finally:
        connection.execute("ROLLBACK")
        connection.execute("PRAGMA writable_schema = RESET")
