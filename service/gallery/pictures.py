"""Small pictures kept beside items: a table of their own, so that reading an item never touches their pages.

Only the record of a collection that keeps them has it. A picture belongs to its item's label: it goes with
the row, by a trigger, whatever deletes that.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from service.errors import DamageError
from service.gallery.damage import RESTORE

__all__ = ["LONGER_SIDE", "is_right", "move_pictures", "picture_statements", "read_picture", "write_pictures"]

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
        DamageError: it does not match its checksum.
    """
    row = connection.execute(
        "SELECT label, pictured, pictures.checksum, jpeg FROM items LEFT JOIN pictures USING (label) "
        "WHERE id = ?",
        [item_id],
    ).fetchone()
    if row is None or not row[1]:
        return None
    label, _, checksum, jpeg = row
    if not is_right(label, checksum, jpeg):
        raise DamageError(
            f"The picture of the item {item_id!r} (label {label}) is damaged; enrol the item again, "
            f"or {RESTORE}."
        )
    return bytes(jpeg)


def move_pictures(connection: sqlite3.Connection, labels: Mapping[int, int]) -> None:
    """Give pictures the labels that their items have now, by the labels before; both rows are still there.

    A row that is written anew under another label, as a merge does, keeps its picture so. One that is damaged
    gets no checksum that fits: asking for it still names its item.
    """
    for before, now in labels.items():
        row = connection.execute("SELECT checksum, jpeg FROM pictures WHERE label = ?", [before]).fetchone()
        if row is None:
            continue
        checksum = _checksum(now, row[1]) if is_right(before, *row) else row[0]
        connection.execute(
            "UPDATE pictures SET label = ?, checksum = ? WHERE label = ?", [now, checksum, before]
        )


def is_right(label: int, checksum: Any, jpeg: Any) -> bool:
    """Return whether a picture is as it was written."""
    return isinstance(jpeg, bytes) and checksum == _checksum(label, jpeg)


def _checksum(label: int, jpeg: bytes) -> int:
    return zlib.crc32(jpeg, zlib.crc32(label.to_bytes(8, "little")))
