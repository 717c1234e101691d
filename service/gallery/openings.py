"""Texts by label, of the labels that were asked for last: looked up without a step for each."""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.gallery.index.buffers import Integers

__all__ = ["Openings", "Texts"]

Texts: TypeAlias = npt.NDArray[Any]  # of bytes
_Known: TypeAlias = npt.NDArray[np.bool_]

_AT_FIRST = 1_000
_GROWTH = 4
_NO_LABEL = -1


class Openings:
    """How matches open, in a table where each label has one place, which others may take from it.

    Thread-safe, and whoever looks texts up waits for nobody. Many are looked up in one call; of a
    dictionary's entries, their keys and their values, the processor waits for one after another to come from
    memory. See docs/decisions/0027-openings-in-a-table.md.
    """

    def __init__(self, most: int) -> None:
        """Remember nothing yet, and never more than `most`."""
        self._most = most
        self._table = _empty(min(most, _AT_FIRST))
        self._changes = 0  # begun and ended: odd while there is one
        self._lock = threading.Lock()

    def of(self, labels: Integers) -> tuple[Texts, _Known | None]:
        """Return (N,) the texts of (N,) labels, and which of them are known; None where all are."""
        before, (held, texts) = self._changes, self._table
        places = labels % len(held)
        holds, found = held.take(places), texts.take(places)
        if before % 2 or self._changes != before:  # some are others' perhaps
            return found, np.zeros(len(labels), np.bool_)
        if holds.tobytes() == labels.tobytes():  # a microsecond less than NumPy takes for few
            return found, None
        return found, holds == labels

    def learn(self, texts: Mapping[int, bytes]) -> None:
        """Remember texts by label, unless somebody else changes them: the event loop waits for nobody."""
        if texts and self._lock.acquire(blocking=False):
            try:
                labels = np.fromiter(texts, np.int64, len(texts))
                with self._changing():
                    while len(self._table[0]) < self._most and _taken(self._table[0], labels):
                        self._table = _larger(self._table, self._most)
                    _put(self._table, labels, list(texts.values()))
            finally:
                self._lock.release()

    def forget(self, labels: Collection[int]) -> None:
        """Remember those of some labels no more."""
        with self._lock, self._changing():
            gone = np.fromiter(labels, np.int64, len(labels))
            held, texts = self._table
            places = gone % len(held)
            places = places[held[places] == gone]
            held[places], texts[places] = _NO_LABEL, None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._changes += 1
        try:
            yield
        finally:
            self._changes += 1


def _empty(places: int) -> tuple[Integers, Texts]:
    return np.full(places, _NO_LABEL, np.int64), np.empty(places, np.object_)


def _taken(held: Integers, labels: Integers) -> bool:
    """Return whether others have places of some labels, or two of these have the same."""
    places = labels % len(held)
    there = held[places]
    return bool(((there != labels) & (there != _NO_LABEL)).any()) or len(np.unique(places)) < len(places)


def _larger(table: tuple[Integers, Texts], most: int) -> tuple[Integers, Texts]:
    held, texts = table
    larger, there = _empty(min(most, _GROWTH * len(held))), held != _NO_LABEL
    _put(larger, held[there], texts[there].tolist())
    return larger


def _put(table: tuple[Integers, Texts], labels: Integers, texts: list[bytes]) -> None:
    held, kept = table
    places = labels % len(held)
    held[places] = _NO_LABEL  # should memory run out
    kept[places] = texts  # of several in one place the last stays, here and below
    held[places] = labels
