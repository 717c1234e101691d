"""How much work searches of a kind are, so that brief ones are done where they arrive."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from service.gallery.collection import SearchOptions
from service.gallery.filters import weight_of

__all__ = ["LATE_S", "Brevity", "Held"]

_BRIEF_S = 0.001  # a query; waking a thread and handing its answer back takes a quarter to half of that
_ALONE_S = 0.003  # where nobody else is served
_AT_ONCE_S = 0.002  # that the event loop may be held in one go by several
_MOST_AT_ONCE = 16  # queries
LATE_S = 0.005  # nothing should hold the event loop for so long, of its own or to wait for the disk
_WARY_S = 1.0  # after that happened
_READ_S = 0.05  # after one for which the disk had to be asked: its neighbours' names are read with it
_MOST_K = 100
_MOST_WEIGHT = 16  # of a filter, which is compared with others on the way
_LEAST_S = 1e-6  # a thread's clock may stand still meanwhile
_TRUST = 0.2  # of the newest time among those before


class Held(NamedTuple):
    """How a search held a thread, or the event loop.

    Attributes:
        worked_s: its own work.
        waited_s: that it waited for something: other threads, or the disk.
        read: whether this process waited for the disk meanwhile.
    """

    worked_s: float
    waited_s: float
    read: bool

    @property
    def counted_s(self) -> float:
        """Return what counts: a thread would have to wait for the interpreter too, but not hold others up."""
        return self.worked_s + (self.waited_s if self.read else 0.0)


class Brevity:
    """How many seconds' work plain searches of a collection are of late, for each query, with their answers.

    Waiting counts only where it may have been for the disk.

    Plain ones are for names alone: as a rule nothing but memory is read for them. Those with a filter
    and those without are two kinds, each with a brevity of its own. Where one of the former is not answered,
    its filter was too wide or new as a rule, and others may be brief all the same.
    Before the first none is brief, nor is any for a second after one took long that was to be brief.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet; the clock gives seconds."""
        self._clock = clock
        self._seconds: float | None = None
        self._wary_until = -math.inf

    def brief(self, options: SearchOptions, *, alone: bool = False) -> int:
        """Return how many queries may be searched on the event loop in one go, 0 where none may.

        Args:
            options: of the search.
            alone: whether nobody else is served, who would have to wait.
        """
        seconds = self._seconds
        most_s = _ALONE_S if alone else _BRIEF_S
        if seconds is None or seconds > most_s or not _may_be_brief(options):
            return 0
        if self._clock() < self._wary_until:
            return 0
        return min(_MOST_AT_ONCE, max(1, int(_AT_ONCE_S / seconds)))

    def note(self, options: SearchOptions, queries: int, held: Held) -> None:
        """Take note of how a search held a thread."""
        if queries and _may_be_brief(options):
            self._learn(held.counted_s / queries)

    def note_held(self, options: SearchOptions, queries: int, held: Held, *, answered: bool) -> None:
        """Take note of how a search held the event loop, and whether memory had its answer."""
        if held.counted_s > LATE_S:
            self._wary_until = self._clock() + _WARY_S
        elif not answered and options.filter is None:
            self._wary_until = self._clock() + _READ_S
        if answered:
            self._learn(held.counted_s / queries)

    def _learn(self, each: float) -> None:
        before = each if self._seconds is None else self._seconds
        each = max(each, _LEAST_S)
        # What was fast once is believed to be so for a while: caches are cold, or shared, now and then.
        self._seconds = min(each, before + _TRUST * (each - before))


def _may_be_brief(options: SearchOptions) -> bool:
    light = options.filter is None or weight_of(options.filter) <= _MOST_WEIGHT
    return light and options.k <= _MOST_K and options.plain
