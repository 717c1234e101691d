"""A record compared with its own checksums: every row, every picture, and SQLite's structures."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.errors import DamageError
from service.gallery import schema
from service.gallery.collection import CollectionConfig
from service.gallery.damage import writable
from service.gallery.pictures import is_right
from service.gallery.sqlite import Database, is_damage
from service.gallery.stoppable import stoppable
from service.gallery.trees import ID_INDEX

__all__ = ["Checker", "Findings"]

_logger = logging.getLogger(__name__)

_ROWS = 32  # at once: half a millisecond, for which a search may have to wait for the interpreter
_MOST_PROBLEMS = 10


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        rows: how many were compared.
        damaged: id by label of the rows that are damaged; None where not even that can be read.
        pictures: the same of the pictures that are.
        structure: what SQLite says of its tables and indexes, nothing where these are right.
    """

    rows: int = 0
    damaged: dict[int, str | None] = field(default_factory=dict)
    pictures: dict[int, str] = field(default_factory=dict)
    structure: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Return whether all items can be read, and found; pictures aside."""
        return not self.damaged and not self.structure


class Checker:
    """Checks one record while others read and write it."""

    def __init__(self, database: Database, config: CollectionConfig) -> None:
        self._database, self._config = database, config

    def findings(self, go_on: Callable[[], None], told: Callable[[Findings], None] | None = None) -> Findings:
        """Compare everything with its checksums, in pieces, and return what is not right.

        Args:
            go_on: called often; what it raises ends the check, and so does closing the record.
            told: called between the pieces, in its place, with what was found up to then; likewise.
        """
        findings = Findings(structure=self._structure_told(go_on))
        after: int | None = 0
        while after is not None:
            if told is None:
                go_on()
            else:
                told(findings)
            with self._database.reading() as connection:
                after = _check_chunk(connection, self._config, after, findings)
        return findings

    def _structure_told(self, go_on: Callable[[], None]) -> list[str]:
        """Return what `structure` does; what cannot be read is told as well, for rows may be."""
        try:
            return self.structure(go_on)
        except DamageError as error:
            return [str(error)]

    def structure(self, go_on: Callable[[], None]) -> list[str]:
        """Return what SQLite finds wrong: in its trees, and between tables and indexes. Reads all pages.

        What `go_on` raises ends it, and so does closing the record.
        """
        go_on = self._while_open(go_on)
        with self._database.reading(once=True) as connection, stoppable(go_on, connection):
            rows = connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})").fetchall()
        found = [row[0] for row in rows]
        return [] if found == ["ok"] else found

    def reindex(self, go_on: Callable[[], None]) -> None:
        """Make SQLite's indexes anew from its tables; what `go_on` raises ends that, and undoes it.

        So does closing the record.

        Raises:
            DamageError: two rows have the same id.
        """
        go_on = self._while_open(go_on)
        with self._database.writing() as connection, stoppable(go_on, connection):
            try:
                connection.execute("REINDEX")
            except sqlite3.IntegrityError as error:
                raise DamageError(f"{self._database.path}: {error}.") from error

    def reserve_labels(self, last: int) -> None:
        """See to it that the next label is above one, which an index has: what counts them may be damaged."""
        with self._database.reading() as connection:
            (noted,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        if isinstance(noted, int) and noted >= last:
            return
        _logger.warning("%s: the last label is said to be %s, and is %d.", self._database.path, noted, last)
        with self._database.writing() as connection:
            connection.execute("DELETE FROM sqlite_sequence")
            connection.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", [last])

    def _while_open(self, go_on: Callable[[], None]) -> Callable[[], None]:
        """Return what also raises where the record is closed: who does that waits for whoever uses it."""

        def go_on_while_open() -> None:
            go_on()
            self._database.refuse_if_closed()

        return go_on_while_open


def _check_chunk(
    connection: sqlite3.Connection, config: CollectionConfig, after: int, findings: Findings
) -> int | None:
    """Compare some rows above a label, and their pictures, with their checksums; return the last, or None."""
    columns = schema.all_columns(schema.field_columns(config))
    rows, unread = _rows_after(connection, columns, after)
    findings.damaged |= {row[0]: schema.name_of(row) for row in rows if not schema.is_right(row)}
    findings.rows += len(rows)
    last = rows[-1][0] if len(rows) == _ROWS else None
    if unread is not None:
        findings.damaged[unread] = _indexed_id(connection, unread)
        findings.rows += 1
        last = unread
    if last is not None and last <= after:  # a page above leads elsewhere, and would again, without end
        findings.structure.append(f"the rows behind label {after} are out of order")
        return None
    if config.keep_images and rows:
        right = _right_pictures(connection, [row[0] for row in rows])
        pictured = columns.index("pictured")
        findings.pictures |= {
            row[0]: schema.name_of(row) for row in rows if row[pictured] and row[0] not in right
        }
    return last


def _rows_after(
    connection: sqlite3.Connection, columns: Sequence[str], after: int
) -> tuple[list[Any], int | None]:
    """Return some rows above a label, and the label of the row behind them if SQLite cannot read that."""
    select = f"SELECT {', '.join(columns)} FROM items WHERE label"
    some = f"> ? ORDER BY label LIMIT {_ROWS}"
    try:
        return connection.execute(f"{select} {some}", [after]).fetchall(), None
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        labels = connection.execute(f"SELECT label FROM items WHERE label {some}", [after]).fetchall()
        if not labels:
            raise
    rows: list[Any] = []
    for (label,) in labels:
        try:
            rows += connection.execute(f"{select} = ?", [label]).fetchall()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return rows, label
    return rows, None


def _right_pictures(connection: sqlite3.Connection, labels: Sequence[int]) -> set[int]:
    """Return which of some labels, ascending, have a picture that is as it was written."""
    try:
        pictures = connection.execute(
            "SELECT label, checksum, jpeg FROM pictures WHERE label BETWEEN ? AND ?", [labels[0], labels[-1]]
        )
        return {label for label, checksum, jpeg in pictures if is_right(label, checksum, jpeg)}
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
    if len(labels) == 1:
        return set()
    return {right for label in labels for right in _right_pictures(connection, [label])}


def _indexed_id(connection: sqlite3.Connection, label: int) -> str | None:
    """Return the id of a row that cannot be read, as far as SQLite's index, looked through whole, has it."""
    try:
        row = connection.execute(
            f"SELECT id FROM items INDEXED BY {ID_INDEX} WHERE +label = ?", [label]
        ).fetchone()
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return None
    return writable(row[0]) if row else None
