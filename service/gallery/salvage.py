"""What is right of a damaged record, copied into a new one; what is not is named."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

import contextlib
import functools
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.gallery import schema
from service.gallery.collection import CollectionConfig
from service.gallery.damage import DamagedRows, writable
from service.gallery.leaves import leaf_pages, one_page_trees
from service.gallery.pictures import is_right
from service.gallery.record_meta import META_KEYS, read_damaged
from service.gallery.sqlite import is_damage
from service.gallery.trees import ID_INDEX

__all__ = ["Salvage"]

_logger = logging.getLogger(__name__)


class Salvage:
    """Copies what is right of a record: as far as SQLite finds it, and rows also where it does not."""

    def __init__(
        self,
        path: Path,
        source: sqlite3.Connection,
        target: sqlite3.Connection,
        config: CollectionConfig,
        go_on: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            path: of the record, of which nothing lies in a log.
            source: a connection to it, in no transaction.
            target: the new one, empty.
            config: its configuration.
            go_on: called often; what it raises ends it.
        """
        self._path, self._source, self._target = path, source, target
        self._config, self._go_on = config, go_on
        columns = schema.all_columns(schema.field_columns(config))
        self._select = f"SELECT {', '.join(columns)} FROM items"
        self._insert = f"INSERT INTO items VALUES ({', '.join('?' * len(columns))})"
        self.labels: set[int] = set()
        self._replaced: set[int] = set()
        self._meta = self._read_meta()

    @property
    def found(self) -> int:
        """Return how many rows are right, those among them that later ones of their ids replace."""
        return len(self.labels) + len(self._replaced)

    @functools.cached_property
    def expected(self) -> int:
        """Return how many were written: as was noted, or as the index of ids has it if that is no number."""
        if isinstance(noted := self._meta.get("items"), int):
            return noted
        count = f"SELECT count(*) FROM items INDEXED BY {ID_INDEX}"
        (entries,) = self._source.execute(count).fetchone()
        return int(entries)

    @functools.cached_property
    def lost_before(self) -> DamagedRows | None:
        """Return what was lost before; None where that cannot be read."""
        with _damage_left_out():
            return read_damaged(self._source)
        return None

    def rows(self) -> None:
        """Copy all rows that can be read: up to a page that cannot, and from the end back to it."""
        self._both_ways(self._select, self._take)

    def lost(self) -> DamagedRows:
        """Return id and identity by label of the rows that were not copied, as SQLite's indexes name them.

        Those of them are copied first that can be read when they are asked for one by one, or page by page.
        """
        ids = dict(self._missing("id", ID_INDEX))
        for label in ids:
            self._go_on()
            self._each(f"{self._select} WHERE label = ?", label, self._take)
        self._from_leaves(self._still_missing(ids))
        identities = dict(self._missing("identity", "items_identity"))
        return {
            label: (writable(name), writable(identities.get(label)))
            for label, name in self._still_missing(ids).items()
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

    def rest(self, lost: DamagedRows) -> None:
        """Write down how many there are, what is lost, now and before, and which label was the last."""
        self._target.execute("UPDATE meta SET value = ? WHERE key = 'items'", [len(self.labels)])
        if self._meta.keys() != META_KEYS:  # something was erased; or that, too, cannot be read
            self._target.execute("INSERT INTO meta VALUES ('unwiped', 1)")
        for label, (name, identity) in {**(self.lost_before or {}), **lost}.items():
            values = [label, writable(name), writable(identity)]
            self._target.execute("INSERT INTO damaged VALUES (?, ?, ?)", values)
        last = max([0, *self.labels, *lost])
        with _damage_left_out():
            (noted,) = self._source.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()
            last = max(last, noted if isinstance(noted, int) else 0)
        self._target.execute("DELETE FROM sqlite_sequence")
        self._target.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", [last])

    def _read_meta(self) -> dict[str, Any]:
        """Return what can be read of what the record says of itself."""
        meta: dict[str, Any] = {}
        with _damage_left_out():
            meta.update(self._source.execute("SELECT key, value FROM meta"))  # row by row, up to the damage
        return meta

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

    def _from_leaves(self, missing: Mapping[int, str | None]) -> None:
        """Copy rows to which SQLite's tree does not lead, from the pages that hold them.

        Where the index of ids has all rows, only those that it names: others may have been deleted.
        """
        if self.found + len(missing) > self.expected:
            return
        all_are_named = self.found + len(missing) == self.expected
        unfound = {label for label, name in missing.items() if not self._leads_to(label, name)}
        if all_are_named and not unfound:
            return
        (page_bytes,) = self._source.execute("PRAGMA page_size").fetchone()
        _logger.warning("%s: its tree does not lead to all items; all pages are looked at.", self._path)
        with one_page_trees(self._source) as begin_at:
            for page in leaf_pages(self._path, page_bytes):
                self._go_on()
                with _damage_left_out():
                    begin_at(page)
                    labels = self._source.execute("SELECT label FROM items NOT INDEXED").fetchall()
                    for (label,) in labels:
                        if label in unfound or not all_are_named:
                            self._each(f"{self._select} WHERE label = ?", label, self._take)
                            unfound -= {label} & self.labels
                if self.found == self.expected or (all_are_named and not unfound):
                    return

    def _leads_to(self, label: int, name: str | None) -> bool:
        """Return whether SQLite's tree has a row of that label and id: then no other page has it."""
        with _damage_left_out():
            row = self._source.execute("SELECT id FROM items WHERE label = ?", [label]).fetchone()
            return row is not None and row[0] == name
        return False

    def _still_missing(self, ids: Mapping[int, str | None]) -> dict[int, str | None]:
        known = self.labels | self._replaced
        return {label: name for label, name in ids.items() if label not in known and not self._has(name)}

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
