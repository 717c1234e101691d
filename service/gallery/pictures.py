"""Small pictures kept beside items: a table of their own, so that reading an item never touches their pages.

Only the record of a collection that keeps them has it. A picture belongs to its item's label: it goes with
the row, by a trigger, whatever deletes that.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping

from service.errors import StorageError

__all__ = ["LONGER_SIDE", "move_pictures", "picture_statements", "read_picture", "write_pictures"]

LONGER_SIDE = 256  # in pixels


def picture_statements() -> list[str]:
    """Return what creates the table, after that of the items."""
    return [
        "CREATE TABLE pictures (label INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, jpeg BLOB NOT NULL)",
        "CREATE TRIGGER pictures_go_with_items AFTER DELETE ON items "
        "BEGIN DELETE FROM pictures WHERE label = old.label; END",
    ]


def write_pictures(connection: sqlite3.Connection, pictures: Iterable[tuple[int, bytes]]) -> None:
    """Keep pictures under the labels of their items."""
    connection.executemany(
        "INSERT INTO pictures (label, checksum, jpeg) VALUES (?, ?, ?)",
        ((label, _checksum(label, jpeg), jpeg) for label, jpeg in pictures),
    )


def read_picture(connection: sqlite3.Connection, item_id: str) -> bytes | None:
    """Return an item's picture, a JPEG, or None.

    Raises:
        StorageError: it does not match its checksum.
    """
    row = connection.execute(
        "SELECT label, pictures.checksum, jpeg FROM items JOIN pictures USING (label) WHERE id = ?", [item_id]
    ).fetchone()
    if row is None:
        return None
    label, checksum, jpeg = row
    if _checksum(label, jpeg) != checksum:
        raise StorageError(
            f"The picture of the item {item_id!r} (label {label}) is damaged; restore the collection from a "
            "backup, or enrol the item again."
        )
    return bytes(jpeg)


def move_pictures(connection: sqlite3.Connection, labels: Mapping[int, int]) -> None:
    """Give pictures the labels that their items have now, by the labels before; both rows are still there.

    A row that is written anew under another label, as a merge does, keeps its picture so.
    """
    for before, now in labels.items():
        row = connection.execute("SELECT jpeg FROM pictures WHERE label = ?", [before]).fetchone()
        if row is not None:
            write_pictures(connection, [(now, row[0])])
    connection.executemany("DELETE FROM pictures WHERE label = ?", ([label] for label in labels))


def _checksum(label: int, jpeg: bytes) -> int:
    return zlib.crc32(jpeg, zlib.crc32(label.to_bytes(8, "little")))
