"""Mending a damaged record: made anew of the rows that are as they were written; the others are named."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from service.errors import DamageError, StorageError
from service.gallery import schema
from service.gallery.collection import CollectionConfig
from service.gallery.damage import RESTORE, kept_file, restore_advice, writable
from service.gallery.folders import refusals, sync_folder
from service.gallery.pictures import is_right
from service.gallery.record_meta import count_of, create_tables, read_config, read_damaged
from service.gallery.sqlite import connected, is_damage, is_refusal
from service.gallery.stoppable import stoppable

__all__ = ["mend"]

_logger = logging.getLogger(__name__)


def mend(path: Path, go_on: Callable[[], None]) -> None:
    """Make a record anew, in place, of what is right of it; nobody may have it open.

    Rows that are not as they were written are left out, and named in the new one. Labels stay: snapshots fit.

    Args:
        path: of the record.
        go_on: called often; whatever it raises, Stopped say, ends it, and the file stays as it is.

    Raises:
        DamageError: not even their names can be read, or the configuration; the file stays as it is.
        StorageError: the disk refused; likewise.
    """
    new = path.with_name(f"{path.name}.mended")
    with refusals(path.parent):
        for file in (new, *_logs(new)):
            file.unlink(missing_ok=True)
        try:
            lost = _made_anew(path, new, go_on)
            if any(file.exists() and file.stat().st_size for file in _logs(path)[:1]):
                raise DamageError(f"{path}: its log cannot be brought in. {restore_advice(path)}")
            if lost:
                _keep(path)
            _sync(new)
            for file in _logs(path):
                file.unlink(missing_ok=True)
            new.replace(path)
            sync_folder(path.parent)
        finally:
            new.unlink(missing_ok=True)
    if lost:
        named = ", ".join(f"{name!r} (label {label})" for label, name in list(lost.items())[:100])
        _logger.error(
            "%s was damaged. %d items are lost: %s. The others were written anew; the file as it was is %s. "
            "Delete the lost ones or enrol them again, or %s.",
            path,
            len(lost),
            named,
            kept_file(path).name,
            RESTORE,
        )
    else:
        _logger.warning("%s was damaged, and is made anew of its rows; no item was lost.", path)


def _made_anew(path: Path, new: Path, go_on: Callable[[], None]) -> dict[int, str | None]:
    """Write the new file and return the ids of what is lost, by label."""
    with (
        contextlib.closing(connected(path, "rw")) as source,
        contextlib.closing(connected(new, "rwc")) as target,
    ):
        try:
            with stoppable(go_on, source, target):
                lost = _copied(source, target, path, go_on)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.Error) and is_refusal(error) and not is_damage(error):
                raise StorageError(f"{path}: {error}. Check the disk, then start again.") from error
            raise DamageError(
                f"{path}: {error}. It is damaged, and cannot be mended. {restore_advice(path)}"
            ) from error
    return {label: name for label, (name, _) in lost.items()}


def _copied(
    source: sqlite3.Connection, target: sqlite3.Connection, path: Path, go_on: Callable[[], None]
) -> dict[int, tuple[str | None, str | None]]:
    """Copy what is right, and return id and identity of what is lost, by label."""
    source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    config = read_config(source, path)
    expected = count_of(source)
    target.execute("BEGIN")
    create_tables(target, config)
    copy = _Copy(source, target, config, go_on)
    copy.rows()
    lost = {} if copy.found == expected else copy.lost()
    if copy.found + len(lost) != expected:
        raise DamageError(
            f"{path} holds {copy.found} items that can be read, and {expected} were written. "
            f"{restore_advice(path)}"
        )
    copy.pictures()
    copy.rest(lost)
    target.execute("COMMIT")
    return lost


class _Copy:
    """Copies what is right of a record."""

    def __init__(
        self,
        source: sqlite3.Connection,
        target: sqlite3.Connection,
        config: CollectionConfig,
        go_on: Callable[[], None],
    ) -> None:
        self._source, self._target, self._config, self._go_on = source, target, config, go_on
        columns = schema.all_columns(schema.field_columns(config))
        self._select = f"SELECT {', '.join(columns)} FROM items"
        self._insert = f"INSERT INTO items VALUES ({', '.join('?' * len(columns))})"
        self.labels: set[int] = set()
        self._replaced: set[int] = set()

    @property
    def found(self) -> int:
        """Return how many rows are right, those among them that later ones of their ids replace."""
        return len(self.labels) + len(self._replaced)

    def rows(self) -> None:
        """Copy all rows that can be read: up to a page that cannot, and from the end back to it."""
        self._both_ways(self._select, self._take)

    def lost(self) -> dict[int, tuple[str | None, str | None]]:
        """Return id and identity by label of the rows that were not copied, as SQLite's indexes name them.

        Some of them can be read when they are asked for one by one: these are copied.
        """
        ids = dict(self._missing("id", "sqlite_autoindex_items_1"))
        for label in list(ids):
            self._each(f"{self._select} WHERE label = ?", label, self._take)
        identities = dict(self._missing("identity", "items_identity"))
        return {
            label: (writable(name), writable(identities.get(label)))
            for label, name in ids.items()
            if label not in self.labels and not self._has(name)
        }

    def pictures(self) -> None:
        """Copy the pictures of these rows; one that is damaged is named when it is asked for."""
        if not self._config.keep_images:
            return
        copied: set[int] = set()

        def take(row: Sequence[Any]) -> None:
            label, checksum, jpeg = row
            if label in self.labels and label not in copied and is_right(label, checksum, jpeg):
                self._target.execute("INSERT INTO pictures VALUES (?, ?, ?)", row)
                copied.add(label)

        select = "SELECT label, checksum, jpeg FROM pictures"
        self._both_ways(select, take)
        for label in self.labels - copied:
            self._each(f"{select} WHERE label = ?", label, take)

    def rest(self, lost: dict[int, tuple[str | None, str | None]]) -> None:
        """Write down how many there are, what is lost, now and before, and which label was the last."""
        self._target.execute("UPDATE meta SET value = ? WHERE key = 'items'", [len(self.labels)])
        self._target.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            self._source.execute("SELECT key, value FROM meta WHERE key = 'unwiped'").fetchall(),
        )
        for label, (name, identity) in {**read_damaged(self._source), **lost}.items():
            self._target.execute("INSERT INTO damaged VALUES (?, ?, ?)", [label, name, identity])
        last = max([0, *self.labels, *lost])
        with _damage_left_out():
            (noted,) = self._source.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()
            last = max(last, noted if isinstance(noted, int) else 0)
        self._target.execute("DELETE FROM sqlite_sequence")
        self._target.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", [last])

    def _take(self, row: Sequence[Any]) -> None:
        label = row[0]
        if label in self.labels or label in self._replaced or not schema.is_right(row):
            return
        name = [schema.name_of(row)]
        # Where the index of ids was damaged, a write did not find the row that it replaced.
        if other := self._target.execute("SELECT label FROM items WHERE id = ?", name).fetchone():
            self._replaced.add(min(label, *other))
            if label < other[0]:
                return
            self._target.execute("DELETE FROM items WHERE id = ?", name)
            self.labels.discard(other[0])
        self._target.execute(self._insert, row)
        self.labels.add(label)

    def _each(self, select: str, label: int, take: Callable[[Sequence[Any]], None]) -> None:
        with _damage_left_out():
            for row in self._source.execute(select, [label]):
                take(row)

    def _both_ways(self, select: str, take: Callable[[Sequence[Any]], None]) -> None:
        for order in ("ASC", "DESC"):
            with _damage_left_out():
                for row in self._source.execute(f"{select} ORDER BY label {order}"):
                    self._go_on()
                    take(row)
                return

    def _missing(self, column: str, index: str) -> Iterator[tuple[int, str | None]]:
        """Yield label and one more column of the rows that were not copied, as far as an index is read."""
        with _damage_left_out():
            for label, value in self._source.execute(f"SELECT label, {column} FROM items INDEXED BY {index}"):
                if label not in self.labels and label not in self._replaced:
                    yield label, value

    def _has(self, name: str | None) -> bool:
        """Return whether a row of that id was copied: then it is the index that is damaged."""
        found = self._target.execute("SELECT 1 FROM items WHERE id = ?", [writable(name)])
        return found.fetchone() is not None


@contextlib.contextmanager
def _damage_left_out() -> Iterator[None]:
    """End the block where SQLite meets damage; a disk that refuses is none."""
    try:
        yield
    except sqlite3.Error as error:
        if not is_damage(error):
            raise


def _logs(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm", "journal")]


def _keep(path: Path) -> None:
    kept = kept_file(path)
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # a file system without links
        shutil.copyfile(path, kept)


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
