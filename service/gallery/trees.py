"""Where the tables and indexes of a record begin in its file: that follows from its configuration alone."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from service.gallery import schema
from service.gallery.collection import CollectionConfig
from service.gallery.pictures import picture_statements

__all__ = ["ID_INDEX", "Entry", "Layout", "are_right", "layout_in", "layouts", "statements"]

ID_INDEX = "sqlite_autoindex_items_1"  # of the ids of the items, which are unique


class Entry(NamedTuple):
    """What SQLite's schema says of a table, an index or a trigger.

    Attributes:
        kind: "table", "index" or "trigger".
        name: its.
        table: the name of the table that it belongs to.
        root: the number of the page at which its tree begins, from 1 on; 0 for a trigger.
        sql: what made it; None for an index that a table brings along.
    """

    kind: str
    name: str
    table: str
    root: int
    sql: str | None


Layout: TypeAlias = tuple[Entry, ...]  # in SQLite's order: an index comes after its table


def statements(config: CollectionConfig) -> list[str]:
    """Return what creates the tables of a configuration."""
    kept = picture_statements() if config.keep_images else []
    return [*schema.statements(schema.field_columns(config)), *kept]


def layouts(config: CollectionConfig) -> tuple[Layout, Layout]:
    """Return how SQLite lays out the tables of a configuration: as they were made, and when written anew.

    They are made before there is a row, so they begin at the first pages. VACUUM puts tables before indexes.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for statement in statements(config):
            connection.execute(statement)
        made = layout_in(connection)
        connection.execute("VACUUM")
        return made, layout_in(connection)
    finally:
        connection.close()


def layout_in(connection: sqlite3.Connection) -> Layout:
    """Return the layout that an open file says that it has."""
    rows = connection.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rowid")
    return tuple(Entry(*row) for row in rows)


def are_right(found: Layout, config: CollectionConfig) -> bool:
    """Return whether a layout is one of a configuration's tables.

    Where a single tree begins elsewhere than it was made, that is damage. Where several do, other hands have
    put the file together, as by importing a dump, and they are there.
    """
    known = layouts(config)
    if any({*found} == {*one} for one in known):
        return True
    if _without_roots(found) != _without_roots(known[0]):
        return False
    return all(len({*found} - {*one}) > 1 for one in known)


def _without_roots(layout: Iterable[Entry]) -> set[Entry]:
    return {entry._replace(root=0) for entry in layout}
