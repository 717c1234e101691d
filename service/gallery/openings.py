"""Texts by label, many of them looked up at once without a step for each."""

import threading
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from service.gallery.index.buffers import Integers

__all__ = ["Openings"]

_Texts: TypeAlias = npt.NDArray[Any]  # of bytes
_Known: TypeAlias = npt.NDArray[np.bool_]

_AT_FIRST = 1_000
_GROWTH = 4
_NO_LABEL = -1  # labels are positive


class _Table(NamedTuple):
    """By place: which label has it, and the text of that."""

    labels: Integers
    texts: _Texts


class Openings:
    """How matches open, in a table where each label has one place, which others may take from it.

    Thread-safe, and whoever looks texts up waits for nobody. Many are looked up in one call; of a
    dictionary's entries, their keys and their values, the processor waits for one after another to come from
    memory. See docs/decisions/0027-openings-in-a-table.md.
    """

    def __init__(self, most: int) -> None:
        """Remember nothing yet, and never more than `most`."""
        self._most = most
        # None while somebody changes it, and another object after that.
        self._table: _Table | None = None
        self._lock = threading.Lock()

    def of(self, labels: Integers) -> tuple[_Texts, _Known | None]:
        """Return (N,) the texts of (N,) labels, and which of them are known; None where all are."""
        table = self._table
        if table is None:
            return _none_of(labels)
        places = labels % len(table.labels)
        held, texts = table.labels.take(places), table.texts.take(places)
        if self._table is not table:  # it was changed: some are others' perhaps
            return _none_of(labels)
        if held.tobytes() == labels.tobytes():  # a microsecond less than NumPy takes for few
            return texts, None
        return texts, held == labels

    def learn(self, texts: Mapping[int, bytes]) -> None:
        """Remember texts by label, unless somebody else changes them: the event loop waits for nobody.

        It grows a few times at most, within milliseconds.
        """
        if texts and self._lock.acquire(blocking=False):
            try:
                labels = np.fromiter(texts, np.int64, len(texts))
                table = self._table or _empty(min(self._most, _AT_FIRST))
                while len(table.labels) < self._most and _taken(table, labels):
                    table = _larger(table, self._most)
                self._table = None
                _put(table, labels, list(texts.values()))
                self._table = _Table(*table)
            finally:
                self._lock.release()

    def forget(self, labels: Collection[int]) -> None:
        """Remember those of some labels no more."""
        with self._lock:
            table, self._table = self._table, None
            if table is not None:
                gone = np.fromiter(labels, np.int64, len(labels))
                places = gone % len(table.labels)
                places = places[table.labels[places] == gone]
                table.labels[places], table.texts[places] = _NO_LABEL, None
                self._table = _Table(*table)


def _none_of(labels: Integers) -> tuple[_Texts, _Known]:
    return np.empty(len(labels), np.object_), np.zeros(len(labels), np.bool_)


def _empty(places: int) -> _Table:
    return _Table(np.full(places, _NO_LABEL, np.int64), np.empty(places, np.object_))


def _taken(table: _Table, labels: Integers) -> bool:
    """Return whether others have places of some labels, or two of these have the same."""
    places = labels % len(table.labels)
    held = table.labels[places]
    return bool(((held != labels) & (held != _NO_LABEL)).any()) or len(np.unique(places)) < len(places)


def _larger(table: _Table, most: int) -> _Table:
    larger, there = _empty(min(most, _GROWTH * len(table.labels))), table.labels != _NO_LABEL
    _put(larger, table.labels[there], table.texts[there].tolist())
    return larger


def _put(table: _Table, labels: Integers, texts: list[bytes]) -> None:
    places = labels % len(table.labels)
    table.texts[places] = texts  # of several in one place the last stays, here and below
    table.labels[places] = labels
