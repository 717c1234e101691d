"""The first page of a record, by which SQLite finds all others: looked at, and made anew where it is damaged.

Its header is the same in every record but for some counts, and its schema follows from the configuration.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from service.errors import DamageError
from service.gallery import trees
from service.gallery.collection import CollectionConfig
from service.gallery.damage import restore_advice
from service.gallery.sqlite import connected, refused_by_disk

__all__ = ["is_sound", "readable"]

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_PAGE_BYTES = 4096  # SQLite's own choice; where a record has others, no tree is found at its place
_SCHEMA_FORMAT = 4  # the last one
_FIRST_BYTES = {"table": b"\x05\x0d", "index": b"\x02\x0a"}  # of the page at which a tree begins
_NEEDED = {"items", trees.ID_INDEX}  # for all rows, and to know that these are all


def is_sound(path: Path) -> bool:
    """Return whether the header is one that a record has; nobody may have it open.

    SQLite would refuse some that are damaged without a word of damage, and by others take pages for new ones
    that are in use. A file that is missing is not judged.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        size = path.stat().st_size
    except FileNotFoundError:
        return True
    log = path.with_name(f"{path.name}-wal")
    return (
        header[:16] == _MAGIC
        and len(header) == _HEADER_BYTES
        and {header[18], header[19]} <= {1, 2}  # without a log, as backups are, or with one
        and header[20:24] == bytes([0, 64, 32, 32])  # bytes kept free in each page, and shares of pages
        and 1 <= int.from_bytes(header[44:48], "big") <= _SCHEMA_FORMAT
        and not any(header[52:56])  # no table of pointers to pages
        and (_counts(header, size) or (log.exists() and log.stat().st_size > 0))
    )


def _counts(header: bytes, size: int) -> bool:
    """Return whether the number of pages in a header is that of the file, or one that SQLite overlooks."""
    page_bytes = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    return not pages or header[24:28] != header[92:96] or pages * page_bytes == size


@contextlib.contextmanager
def readable(path: Path, config: CollectionConfig) -> Iterator[None]:
    """Give a block in which SQLite can read the file; a first page that is damaged is made anew meanwhile.

    Afterwards that page is as it was. Nobody may have the file open.

    Raises:
        DamageError: it is damaged, and the trees are not where it would have them.
        sqlite3.Error: the disk refused.
    """
    if _is_right(path, config):
        yield
        return
    layout = _fitting(path, config)
    with path.open("rb") as file:
        before = file.read(_PAGE_BYTES)
    try:
        _write(path, _empty_page())
        _fill(path, layout)
        yield
    finally:
        _write(path, before)


def _is_right(path: Path, config: CollectionConfig) -> bool:
    if not is_sound(path):
        return False
    try:
        with contextlib.closing(connected(path, "rw")) as connection:
            return trees.are_right(trees.layout_in(connection), config)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if refused_by_disk(error):
            raise
        return False


def _fitting(path: Path, config: CollectionConfig) -> trees.Layout:
    """Return the layout of which most trees are found in the file."""
    with path.open("rb") as file:

        def begins(entry: trees.Entry) -> bool:
            file.seek(_PAGE_BYTES * (entry.root - 1))
            first = file.read(1)
            return bool(first) and first in _FIRST_BYTES[entry.kind]

        found = {
            layout: {entry.name for entry in layout if entry.root and begins(entry)}
            for layout in trees.layouts(config)
        }
    best = max(found, key=lambda layout: len(found[layout]))
    if not found[best] >= _NEEDED:
        raise DamageError(
            f"{path}: its first page is damaged, or it is not a collection's. {restore_advice(path)}"
        )
    return best


def _empty_page() -> bytes:
    """Return the first page of a database without tables, of which SQLite counts the pages by its size."""
    page = bytearray(_PAGE_BYTES)
    page[:24] = _MAGIC + _PAGE_BYTES.to_bytes(2, "big") + bytes([2, 2, 0, 64, 32, 32])
    page[24:28] = (1).to_bytes(4, "big")  # changes: not as many as at 92, so the pages are counted
    page[40:44] = (1).to_bytes(4, "big")  # changes of the schema
    page[44:48] = _SCHEMA_FORMAT.to_bytes(4, "big")
    page[56:60] = (1).to_bytes(4, "big")  # UTF-8
    page[100:108] = b"\x0d\0\0\0\0" + _PAGE_BYTES.to_bytes(2, "big") + b"\0"  # a schema of no rows
    return bytes(page)


def _fill(path: Path, layout: trees.Layout) -> None:
    """Write the schema; what does not fit into the page SQLite puts behind all others."""
    with contextlib.closing(connected(path, "rw")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", layout)
        connection.execute("COMMIT")


def _write(path: Path, page: bytes) -> None:
    with path.open("r+b") as file:
        file.write(page)
