"""A record compared with its own checksums: every row, every picture, and SQLite's structures."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from service.errors import DamageError
from service.gallery import schema
from service.gallery.collection import CollectionConfig
from service.gallery.pictures import is_right
from service.gallery.sqlite import Database
from service.gallery.stoppable import stoppable

__all__ = ["Checker", "Findings"]

_logger = logging.getLogger(__name__)

_ROWS = 32  # at once: half a millisecond, for which a search may have to wait for the interpreter
_MOST_PROBLEMS = 10


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        rows: how many were compared.
        damaged: id by label of the rows that are damaged.
        pictures: the same of the pictures that are.
        structure: what SQLite says of its tables and indexes, nothing where these are right.
    """

    rows: int = 0
    damaged: dict[int, str] = field(default_factory=dict)
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
        findings = Findings(structure=self.structure(go_on))
        after: int | None = 0
        while after is not None:
            if told is None:
                go_on()
            else:
                told(findings)
            with self._database.reading() as connection:
                after = _check_chunk(connection, self._config, after, findings)
        return findings

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
    rows = connection.execute(
        f"SELECT {', '.join(columns)} FROM items WHERE label > ? ORDER BY label LIMIT {_ROWS}", [after]
    ).fetchall()
    findings.damaged |= {row[0]: schema.name_of(row) for row in rows if not schema.is_right(row)}
    findings.rows += len(rows)
    last = rows[-1][0] if len(rows) == _ROWS else None
    if config.keep_images and rows:
        pictures = connection.execute(
            "SELECT label, checksum, jpeg FROM pictures WHERE label BETWEEN ? AND ?",
            [rows[0][0], rows[-1][0]],
        )
        right = {label for label, checksum, jpeg in pictures if is_right(label, checksum, jpeg)}
        pictured = columns.index("pictured")
        findings.pictures |= {
            row[0]: schema.name_of(row) for row in rows if row[pictured] and row[0] not in right
        }
    return last
