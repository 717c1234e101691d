"""Which items pass a filter, remembered: no row changes under its label, so only new rows are asked about."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.gallery.columns import Columns
from service.gallery.field_values import Mask
from service.gallery.filters import AllOf, AnyOf, Filter, Not, fields_of
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import StaleLabelsError
from service.gallery.index.segments import Index
from service.gallery.store import Record

__all__ = ["Passing"]

_MAX_FILTERS = 64
_MAX_BYTES = 64 * 2**20
_FEW_ROWS = 5_000  # beyond, more new ones are read with all others, from the indexes of the fields
_MOST_PARTS = 16  # of a filter, that are remembered for themselves


@dataclass(frozen=True, slots=True)
class _Known:
    """The labels that pass, of all that an index held.

    Attributes:
        labels: (P,) in any order.
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
        self,
        record: Record,
        columns: Columns,
        *,
        max_filters: int = _MAX_FILTERS,
        max_bytes: int = _MAX_BYTES,
        few_rows: int = _FEW_ROWS,
    ) -> None:
        """Remember nothing yet.

        Args:
            record: that is asked about other than declared fields.
            columns: the declared ones.
            max_filters: of which the labels are remembered.
            max_bytes: that they take.
            few_rows: so many are asked about one by one.
        """
        self._record, self._max_filters, self._max_bytes = record, max_filters, max_bytes
        self._few_rows = few_rows
        self._columns = columns
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._bytes = 0
        self._turn = threading.Lock()

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes the labels and the filters take, at most about `max_bytes`."""
        return self._bytes

    def labels(self, condition: Filter, index: Index) -> Integers:
        """Return (P,) the labels that pass, in any order, of those that an index holds: exactly these.

        It is the same array again while nothing of it has changed.

        Raises:
            FilterError: a declared field is compared with a value of another type.
            StaleLabelsError: the record is ahead of the index, or another search's index is; take the newest.
        """
        key = repr(condition)  # equality would not do: 1 == True
        with self._turn:
            known = self._known.get(key)
        if known is None or index.living_after(known.up_to) > self._few_rows:
            now = self._read(condition, index)
        elif known.version > index.version:
            raise StaleLabelsError("This index is older than the one that the filter was last used with.")
        elif known.version == index.version:
            now = known
        else:
            now = self._brought_up(known, condition, index)
        self._keep(key, now)
        return now.labels

    def labels_at_once(self, condition: Filter, index: Index) -> Integers | None:
        """Return what `labels` does, at once; None where it would take longer than waking a thread.

        Raises:
            FilterError: a declared field is compared with a value of another type.
        """
        key = repr(condition)
        with self._turn:  # held by nobody for longer than a dictionary takes
            known = self._known.get(key)
        if known is None or known.version != index.version:
            labels = self._columns.passing_at_once(condition, index)
            if labels is None:
                return None
            known = _Known(labels, index.last_label, index.version, len(index))
        self._keep(key, known)
        return known.labels

    def _read(self, condition: Filter, index: Index) -> _Known:
        """Find out about all rows: from memory, by parts, or by one statement."""
        up_to = index.last_label
        if (held := self._columns.passing(condition, index)) is not None:
            labels = held
        elif self._is_of_parts(condition):
            living = index.living()
            labels = living[self._passes(condition, living, index)]
        else:
            found = self._record.filters.passing(condition, up_to=up_to)
            _refuse_others(found.rows, len(index))
            labels = np.sort(found.labels)
        return _Known(labels, up_to, index.version, len(index))

    def _is_of_parts(self, condition: Filter) -> bool:
        """Return whether it joins what memory answers with what the index of a field does."""
        fields = list(fields_of(condition))
        joins = isinstance(condition, Not) or (len(set(fields)) > 1 and self._columns.of_any(condition))
        return joins and len(fields) <= _MOST_PARTS and self._record.filters.has_indexes(fields)

    def _passes(self, condition: Filter, living: Integers, index: Index) -> Mask:
        """Return (N,) which of the living labels pass; what its parts are is remembered."""
        passes: Mask
        match condition:
            case Not(part):
                passes = ~self._passes(part, living, index)
            case AnyOf(parts) if self._is_of_parts(condition):
                passes = np.any([self._passes(part, living, index) for part in parts], axis=0)
            case AllOf(parts) if self._is_of_parts(condition):
                passes = np.all([self._passes(part, living, index) for part in self._sorted(parts)], axis=0)
            case _:
                passes = np.zeros(len(living), np.bool_)
                passes[np.searchsorted(living, self.labels(condition, index))] = True
        return passes

    def _sorted(self, parts: Sequence[Filter]) -> list[Filter]:
        """Return parts that must all hold; those of the record are one, for which it takes the best index."""
        asked = tuple(part for part in parts if not self._columns.of_any(part))
        others = [part for part in parts if self._columns.of_any(part)]
        return [*others, AllOf(asked)] if len(asked) > 1 else list(parts)

    def _brought_up(self, known: _Known, condition: Filter, index: Index) -> _Known:
        """Add what is new, and drop what has died since."""
        labels, up_to = known.labels, max(known.up_to, index.last_label)
        new = index.living_after(known.up_to)
        if len(index) - new < known.held:
            alive = index.holds(labels)
            labels = labels if alive.all() else labels[alive]
        if up_to > known.up_to:
            found = self._record.filters.passing(condition, after=known.up_to, up_to=up_to)
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
