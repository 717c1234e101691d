"""Rows are written some at a time, all of them, in order."""

import sqlite3

import pytest

from service.gallery.inserting import insert_items


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 149])
def test_all_rows_are_written_in_order(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE items (label INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, vector BLOB)")
    rows = [[n + 1, f"it's {n}", bytes([n])] for n in range(count)]
    insert_items(connection, ["label", "id", "vector"], iter(rows))
    assert connection.execute("SELECT rowid, id, vector FROM items ORDER BY rowid").fetchall() == [
        tuple(row) for row in rows
    ]
    connection.close()
