"""The names of a record by label, remembered: a row never changes under its label."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any

import orjson

from service.errors import DamageError
from service.gallery.damage import damaged_item, writable
from service.gallery.index.accelerator import Stopped
from service.gallery.index.buffers import Integers
from service.gallery.label_reads import json_list
from service.gallery.named_matches import opening_of
from service.gallery.openings import Openings
from service.gallery.packed_names import Name, PackedNames, joined, packed
from service.gallery.schema import checked_name
from service.gallery.sqlite import Database

__all__ = ["RecordNames"]

_MOST = 100_000  # some 25 MB, and 15 for how matches open; ten times that of the longest names
_READ_AT_ONCE = 1_000


class RecordNames:
    """The ids and identities of rows: packed those of a snapshot, at hand those that were asked for lately.

    Thread-safe. Reading ten names takes SQLite 40 us and the interpreter changes hands for it: as long as a
    search; and it may have to wait for the disk.
    """

    def __init__(self, database: Database, *, most: int = _MOST) -> None:
        """Remember nothing yet; `most` are at hand."""
        self._database, self._most = database, most
        self._names: dict[int, Name] = {}
        self._opening = Openings(most)  # of names that are found by searches for names alone
        self._packed = PackedNames()
        self._packed_to = 0
        self._lock = threading.Lock()

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes the packed ones take."""
        return self._packed.memory_bytes

    def of(self, labels: Collection[int]) -> dict[int, Name]:
        """Return those of the labels that are there, or were there when they were last asked for.

        Raises:
            DamageError: those of one are damaged.
        """
        known = self._known(labels)
        if not (unknown := set(labels) - known.keys()):
            return known
        read = self._read(unknown)
        self.learn(read)
        return known | read

    def openings_of(self, labels: Integers) -> list[bytes] | None:
        """Return how the match of each label opens, in their order; None where one is of no row.

        Raises:
            DamageError: those of one are damaged.
        """
        return self._openings(labels, self.of)

    def remembered_openings_of(self, labels: Integers) -> list[bytes] | None:
        """Return how the match of each label opens, in their order; None where one is not remembered."""
        return self._openings(labels, self._known)

    def _openings(
        self, labels: Integers, names_of: Callable[[Collection[int]], Mapping[int, Name]]
    ) -> list[bytes] | None:
        found, known = self._opening.of(labels)
        if known is not None:
            others = labels[~known].tolist()
            unknown = set(others)
            names = names_of(unknown)
            if len(names) < len(unknown):
                return None
            learnt = {label: opening_of(*name) for label, name in names.items()}
            self._opening.learn(learnt)
            found[~known] = [learnt[label] for label in others]
        openings: list[bytes] = found.tolist()
        return openings

    def _known(self, labels: Collection[int]) -> dict[int, Name]:
        """Return those of the labels that are remembered."""
        names, known = self._names, dict[int, Name]()
        others: list[int] = []
        for label in dict.fromkeys(labels):
            if (name := names.get(label)) is None:
                others.append(label)
            else:
                known[label] = name
        if others and (found := self._packed.find(others)):
            if self._lock.acquire(blocking=False):  # the event loop asks too, and waits for nobody
                try:
                    self._learn(found)
                finally:
                    self._lock.release()
            known |= found
        return known

    def learn(self, names: Mapping[int, Name]) -> None:
        """Have names at hand; the ones that were learnt first are not any more."""
        with self._lock:
            self._learn(names)

    def _learn(self, names: Mapping[int, Name]) -> None:
        self._names.update(names)
        _shorten(self._names, self._most)

    def forget(self, labels: Iterable[int]) -> None:
        """Have names at hand no more: their rows are gone. Packed ones stay, and are not asked for."""
        gone = list(labels)
        for at in range(0, len(gone), _READ_AT_ONCE):  # others wait for the lock
            with self._lock:
                for label in gone[at : at + _READ_AT_ONCE]:
                    self._names.pop(label, None)
            self._opening.forget(gone[at : at + _READ_AT_ONCE])

    def pack(self, up_to: int, labels: Callable[[], Integers], stop: threading.Event) -> None:
        """Pack the names of rows, where they are not; one thread does at a time.

        Those of damaged rows are left out: whoever asks for one is told.

        Args:
            up_to: the highest label of the rows.
            labels: gives their labels, ascending.
            stop: ends it within a moment.

        Raises:
            Stopped: it was told to stop; what was packed before stays.
        """
        if up_to <= self._packed_to:
            return
        living = labels()
        before = self._packed if len(self._packed.labels) <= 2 * len(living) else PackedNames()
        new, parts = living[living > before.last_label], [before]
        for at in range(0, len(new), _READ_AT_ONCE):
            if stop.is_set():
                raise Stopped
            parts.append(packed(self._sound(new[at : at + _READ_AT_ONCE].tolist())))
        self._packed = joined(parts)
        self._packed_to = up_to

    def _sound(self, labels: list[int]) -> dict[int, Name]:
        """Return the names of rows that have them as they were written."""
        try:
            return self._read(labels)
        except DamageError:
            if len(labels) == 1:
                return {}
        return {label: name for one in labels for label, name in self._sound([one]).items()}

    def _read(self, labels: Iterable[int]) -> dict[int, Name]:
        wanted = list(labels)
        with self._database.reading(once=True) as connection:
            # One row in all: for each row that is stepped to, the interpreter may change hands.
            (rows,) = connection.execute(
                "SELECT json_group_array(json_array(label, name_checksum, id, identity)) FROM items "
                "WHERE label IN (SELECT value FROM json_each(?))",
                [json_list(wanted)],
            ).fetchone()
        path = self._database.path
        try:
            loaded: list[list[Any]] = orjson.loads(rows)
        except ValueError as error:  # a name is no text any more
            if len(wanted) == 1:
                raise damaged_item(path, self._what_is_left_of_id(wanted[0]), wanted[0]) from error
            return {label: name for one in wanted for label, name in self._read([one]).items()}
        return {row[0]: checked_name(path, *row) for row in loaded}

    def _what_is_left_of_id(self, label: int) -> str | None:
        with self._database.reading(once=True) as connection:
            row = connection.execute("SELECT id FROM items WHERE label = ?", [label]).fetchone()
        return None if row is None else writable(row[0])


def _shorten(remembered: dict[int, Any], most: int) -> None:
    """Remember the first ones no more, a tenth at once: looking for them takes time."""
    if len(remembered) > most:
        for label in list(islice(remembered, len(remembered) - most * 9 // 10)):
            del remembered[label]
