"""Which items pass a filter, remembered: no row changes under its label, so only new rows are asked about."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from service.gallery.filters import Filter
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import StaleLabelsError
from service.gallery.index.segments import Index
from service.gallery.store import Record

__all__ = ["Passing"]

_MAX_FILTERS = 64
_MAX_BYTES = 64 * 2**20
_FEW_ROWS = 5_000  # that are new; beyond, the whole is read again, from the indexes of the fields


@dataclass(frozen=True, slots=True)
class _Known:
    """The labels that pass, of all that an index held.

    Attributes:
        labels: (P,) ascending.
        up_to: the highest label that was asked about.
        version: of the index.
        held: how many labels it held.
    """

    labels: Integers
    up_to: int
    version: int
    held: int


class Passing:
    """What passes the filters of the last searches of a collection. Thread-safe.

    The memory it takes is bounded by the number of filters and by their bytes; the least recently used goes.
    """

    def __init__(
        self, record: Record, *, max_filters: int = _MAX_FILTERS, max_bytes: int = _MAX_BYTES
    ) -> None:
        self._record, self._max_filters, self._max_bytes = record, max_filters, max_bytes
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._bytes = 0
        self._turn = threading.Lock()

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes the labels and the filters take, at most about `max_bytes`."""
        return self._bytes

    def labels(self, condition: Filter, index: Index) -> Integers:
        """Return (P,) the labels that pass, ascending, of those that an index holds: exactly these.

        It is the same array again while nothing of it has changed.

        Raises:
            FilterError: a declared field is compared with a value of another type.
            StaleLabelsError: the record is ahead of the index, or another search's index is; take the newest.
        """
        key = repr(condition)  # equality would not do: 1 == True
        with self._turn:
            known = self._known.get(key)
        if known is None or index.living_after(known.up_to) > _FEW_ROWS:
            now = self._read(condition, index)
        elif known.version > index.version:
            raise StaleLabelsError("This index is older than the one that the filter was last used with.")
        elif known.version == index.version:
            now = known
        else:
            now = self._brought_up(known, condition, index)
        self._keep(key, now)
        return now.labels

    def _read(self, condition: Filter, index: Index) -> _Known:
        """Ask the record about all."""
        up_to = index.last_label
        found = self._record.passing(condition, up_to=up_to)
        _refuse_others(found.rows, len(index))
        return _Known(np.sort(found.labels), up_to, index.version, len(index))

    def _brought_up(self, known: _Known, condition: Filter, index: Index) -> _Known:
        """Add what is new, and drop what has died since."""
        labels, up_to = known.labels, max(known.up_to, index.last_label)
        new = index.living_after(known.up_to)
        if len(index) - new < known.held:
            alive = index.holds(labels)
            labels = labels if alive.all() else labels[alive]
        if up_to > known.up_to:
            found = self._record.passing(condition, after=known.up_to, up_to=up_to)
            _refuse_others(found.rows, new)
            if len(found.labels):
                labels = np.concatenate([labels, np.sort(found.labels)])
        return _Known(labels, up_to, index.version, len(index))

    def _keep(self, key: str, now: _Known) -> None:
        with self._turn:
            before = self._known.get(key)
            if before is not None and before.version > now.version:
                return
            if before is not None:
                self._bytes -= _bytes_of(key, before)
            self._known[key] = now
            self._known.move_to_end(key)
            self._bytes += _bytes_of(key, now)
            while len(self._known) > self._max_filters or self._bytes > self._max_bytes:
                self._bytes -= _bytes_of(*self._known.popitem(last=False))


def _bytes_of(key: str, known: _Known) -> int:
    return len(key) + known.labels.nbytes


def _refuse_others(rows: int, held: int) -> None:
    """Refuse an index of which the record has lost rows: what passed of them is unknown.

    The record has every change first; so of the labels that there were, it holds those of the index or fewer.
    """
    if rows != held:
        raise StaleLabelsError(f"The record has {rows} of {held} rows that are in the index.")
