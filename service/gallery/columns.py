"""The declared fields of a collection in memory, so that filters over them ask nothing of the disk."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from service.gallery.field_values import Mask, Numbers, Values, Words, values_of
from service.gallery.filter_sql import operand, ordered_operand
from service.gallery.filters import AllOf, AnyOf, Compare, Exists, Filter, Not, OneOf, fields_of, leaves_of
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import StaleLabelsError
from service.gallery.index.locating import located
from service.gallery.index.segments import Index
from service.gallery.ordered import Bounds, Ordered, bounds_of
from service.gallery.store import Record

__all__ = ["Columns"]

_FEW_ROWS = 5_000
_FEW = 8  # an eighth of the rows: beyond, new ones are read with all others, from the index of the field
_MOST_AT_ONCE = 2**19  # comparisons, done in half a millisecond
_OF_A_WORD = 20  # as many comparisons: one in Python
_MOST_WORD_BYTES = 16 * 2**20
_OFTEN = 30  # comparisons of all numbers take about as long as sorting them
_NARROW = 8  # an eighth of the items: more labels are found as fast by comparing all


@dataclass(frozen=True, slots=True)
class _Held:
    """The labels of an index, ascending, and for each the values of some fields."""

    labels: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    up_to: int = 0
    version: int = -1
    fields: Mapping[str, Values] = field(default_factory=dict)
    ordered: Mapping[str, Ordered] = field(default_factory=dict)

    def within(self, bounds: Bounds, *, most: int) -> Integers | None:
        """Return the labels whose number is within bounds; None where no order tells, or too many are.

        They are in the field's order where nothing was taken out between: to sort them takes half as long as
        to scan their codes. Elsewhere they ascend: the rows of sorted labels are found several times faster.
        """
        ordered = self.ordered.get(bounds.field)
        if ordered is None or len(places := ordered.within(bounds.limits)) > most:
            return None
        # An array of int32 is slow to index by.
        return self.labels_at((places if self._whole else np.sort(places)).astype(np.int64))

    def labels_at(self, places: Integers) -> Integers:
        """Return the labels at some places."""
        return places + self.labels[0] if self._whole else self.labels[places]

    @property
    def _whole(self) -> bool:
        """Return whether none was taken out between the first and the last: they need not be read then."""
        return len(self.labels) > 0 and int(self.labels[-1] - self.labels[0]) + 1 == len(self.labels)


class Columns:
    """The values of the declared fields, as of the newest index that was asked about. Thread-safe.

    A field is read at the first filter that needs it, and then only what is new. A number takes 8 bytes an
    item (10 where some are beyond 2**53), and 12 more where the field's are sorted, after so many narrow
    filters over it between two changes that comparing took longer. A string takes 4, and each different one
    once. Strings that differ so much that these take more than `most_word_bytes` are not held: hardly any
    filter passes many of them.
    """

    def __init__(
        self,
        record: Record,
        *,
        few_rows: int = _FEW_ROWS,
        most_word_bytes: int = _MOST_WORD_BYTES,
        most_at_once: int = _MOST_AT_ONCE,
        often: int = _OFTEN,
    ) -> None:
        """Hold nothing yet.

        Args:
            record: that is read.
            few_rows: so many new ones are read one by one, and up to an eighth of all.
            most_word_bytes: of the different strings of a field.
            most_at_once: comparisons.
            often: so many narrow filters over a field between two changes make it worth sorting.
        """
        self._most_at_once, self._often = most_at_once, often
        self._record, self._few_rows, self._most_word_bytes = record, few_rows, most_word_bytes
        self._held = _Held()
        self._varied: frozenset[str] = frozenset()
        self._compared: Counter[str] = Counter()  # narrow filters, by the field that they set bounds to
        self._turn, self._sorting = threading.Lock(), threading.Lock()

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes it takes: the labels, 8 for each item, the fields, and their orders."""
        held = self._held
        return held.labels.nbytes + sum(one.nbytes for one in (*held.fields.values(), *held.ordered.values()))

    def of_any(self, condition: Filter) -> bool:
        """Return whether a filter asks for a field that is held, or may be."""
        held = self._record.config.fields.keys() - self._varied
        return not held.isdisjoint(fields_of(condition))

    def passing(self, condition: Filter, index: Index) -> Integers | None:
        """Return (P,) the labels that pass, in any order, of those that an index holds.

        None where the filter is about a field that is not declared, or too varied.

        Raises:
            FilterError: a field is compared with a value of another type.
            StaleLabelsError: the record is ahead of the index, or another search's index is; take the newest.
        """
        wanted = set(fields_of(condition))
        if not wanted <= self._record.config.fields.keys():
            return None
        held = self._at(index, wanted)
        if held is None:
            return None
        bounds = self._bounds(condition, held)
        if bounds is not None:
            if self._is_due(bounds.field, held):
                held = self._sorted(bounds.field, held)
            labels = self._within(bounds, held, most=len(held.labels) // _NARROW)
            if labels is not None:
                return labels
        return self._by_comparing(condition, held, bounds)

    def passing_at_once(self, condition: Filter, index: Index) -> Integers | None:
        """Return what `passing` does; None where the fields are not held as of this index, or it takes long.

        Raises:
            FilterError: a field is compared with a value of another type.
        """
        leaves, held = list(leaves_of(condition)), self._held
        if held.version != index.version or not held.fields.keys() >= {leaf.field for leaf in leaves}:
            return None
        bounds = self._bounds(condition, held)
        if bounds is not None:
            if self._is_due(bounds.field, held):  # a thread sorts
                return None
            most = min(len(held.labels), self._most_at_once) // _NARROW
            labels = self._within(bounds, held, most=most)
            if labels is not None:
                return labels
        if sum(_comparisons(leaf, held.fields[leaf.field]) for leaf in leaves) > self._most_at_once:
            return None
        return self._by_comparing(condition, held, bounds)

    def order(self, name: str | None) -> tuple[str, Integers] | None:
        """Return the field that most narrow filters are about, and the labels in its order.

        Args:
            name: of the field in whose order the asker has them already; None is returned for it.
        """
        held = self._held
        field = max(held.ordered, key=self._compared.__getitem__, default=name)
        return None if field is None or field == name else (field, held.labels[held.ordered[field].places])

    def _bounds(self, condition: Filter, held: _Held) -> Bounds | None:
        """Return what a filter asks of one field that can be sorted; None where it is another filter."""
        fields = [held.fields[name] for name in set(fields_of(condition))]
        if not all(isinstance(one, Numbers) and one.rests is None for one in fields):
            return None
        return bounds_of(condition, self._record.config.fields)

    def _is_due(self, name: str, held: _Held) -> bool:
        """Return whether a field should be sorted now."""
        return self._compared[name] >= self._often and name not in held.ordered

    def _sorted(self, name: str, held: _Held) -> _Held:
        """Return what is held with a field sorted; as it is where somebody else sorts, or it is held no more.

        Nobody waits for it: others compare meanwhile.
        """
        numbers = held.fields[name]
        if not isinstance(numbers, Numbers) or not self._sorting.acquire(blocking=False):
            return held
        try:
            ordered = Ordered.of(numbers)
            with self._turn:
                if self._held is held:
                    self._held = replace(held, ordered={**held.ordered, name: ordered})
                return self._held if self._held.version == held.version else held
        finally:
            self._sorting.release()

    def _within(self, bounds: Bounds, held: _Held, *, most: int) -> Integers | None:
        """Return what an order answers, and count a narrow filter; None where none does."""
        labels = held.within(bounds, most=most)
        if labels is not None:
            self._compared[bounds.field] += 1
        return labels

    def _by_comparing(self, condition: Filter, held: _Held, bounds: Bounds | None) -> Integers:
        """Return the labels that pass, and count a narrow filter that an order would have answered."""
        labels = held.labels_at(np.flatnonzero(self._mask(condition, held.fields)))
        if bounds is not None and len(labels) * _NARROW <= len(held.labels):
            self._compared[bounds.field] += 1
        return labels

    def _mask(self, condition: Filter, fields: Mapping[str, Values]) -> Mask:
        match condition:
            case AllOf(parts):
                return reduce(np.logical_and, (self._mask(part, fields) for part in parts))
            case AnyOf(parts):
                return reduce(np.logical_or, (self._mask(part, fields) for part in parts))
            case Not(part):
                return ~self._mask(part, fields)
            case OneOf(name, values):
                kind = self._record.config.fields[name]
                return fields[name].one_of([operand(name, value, kind) for value in values])
            case Compare(name, order):
                kind = self._record.config.fields[name]
                return fields[name].compared(order, ordered_operand(condition, kind))
            case Exists(name):
                return fields[name].present()

    def _at(self, index: Index, wanted: set[str]) -> _Held | None:
        """Return what an index holds, with some fields; None where one of them is too varied."""
        held = self._held
        if held.version == index.version and wanted <= held.fields.keys():
            return held
        with self._turn:
            if wanted & self._varied:
                return None
            if self._held.version != index.version:
                self._held = self._brought_up(index)
                self._compared.clear()
            for name in sorted(wanted - self._held.fields.keys()):
                values = self._read(name)
                if values is None:
                    self._varied |= {name}
                    return None
                self._held = replace(self._held, fields={**self._held.fields, name: values})
            return self._held

    def _read(self, name: str) -> Values | None:
        """Read a field of all rows; None where it is too varied."""
        held = self._held
        found = self._record.filters.values(name, up_to=held.up_to, most_word_bytes=self._most_word_bytes)
        if found is None:
            return None
        if not np.array_equal(found.labels, held.labels):
            raise StaleLabelsError("The record has other rows than the index.")
        return values_of(found.values, self._record.config.fields[name]).taken(found.places)

    def _brought_up(self, index: Index) -> _Held:
        """Drop what has died since, and add what is new."""
        held = self._held
        if held.version > index.version:
            raise StaleLabelsError("This index is older than the one that a filter was last used with.")
        new = index.living_after(held.up_to)
        up_to = max(held.up_to, index.last_label)
        if not held.fields or new > max(self._few_rows, len(index) // _FEW):
            return _Held(index.living(), up_to, index.version)
        fields = held.fields
        labels = index.living()
        before, after = np.split(labels, [len(labels) - new])
        if len(before) < len(held.labels):
            places = located(before, held.labels)
            if places is None:
                raise StaleLabelsError("The index has rows that the record had no more.")
            fields = {name: values.taken(places) for name, values in fields.items()}
        if up_to > held.up_to:
            found = self._record.filters.values_after(fields, after=held.up_to, up_to=up_to)
            if not np.array_equal(found.labels, after):
                raise StaleLabelsError("The record has other new rows than the index.")
            fields = {
                name: values.joined(more)
                for (name, values), more in zip(fields.items(), found.values, strict=True)
            }
        return _Held(labels, up_to, index.version, self._bounded(fields))

    def _bounded(self, fields: Mapping[str, Values]) -> Mapping[str, Values]:
        """Leave out what has become too varied; dead strings count there, so it is read again, once."""
        return {name: one for name, one in fields.items() if one.word_bytes <= self._most_word_bytes}


def _comparisons(leaf: OneOf | Compare | Exists, values: Values) -> int:
    """Return how many comparisons tell where it holds."""
    if isinstance(values, Words):
        words = isinstance(leaf, Compare) or (isinstance(leaf, OneOf) and len(leaf.values) > 1)
        return len(values.at) + (_OF_A_WORD * len(values.numbers) if words else 0)
    return len(values.floats) * (len(leaf.values) if isinstance(leaf, OneOf) else 1)
