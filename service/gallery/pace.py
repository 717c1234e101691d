"""How long the searches of a collection take, so that brief ones are done where they arrive."""

import time
from weakref import WeakKeyDictionary

from service.gallery.collection import Collection, SearchOptions

__all__ = ["Pace"]

_BRIEF_S = 0.0005  # a query; a thread that is woken, and its answer handed back, takes half of that
_AT_ONCE_S = 0.002  # that the event loop may be held in one go
_MOST_AT_ONCE = 16  # queries
_LATE_S = 0.005  # nothing should hold the event loop for so long
_WARY_S = 1.0  # after that happened
_MOST_K = 100
_TRUST = 0.2  # of the newest time among those before


class Pace:
    """How many seconds the plain searches of each collection take of late, for each query.

    Plain ones are the nearest of all, without metadata, for which nothing but memory is read, as a rule. What
    was never searched is not brief, nor is, for a second, what took long where a brief search was promised.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._seconds: WeakKeyDictionary[Collection, float] = WeakKeyDictionary()
        self._wary: WeakKeyDictionary[Collection, float] = WeakKeyDictionary()

    def brief(self, collection: Collection, options: SearchOptions) -> int:
        """Return how many queries may be searched on the event loop in one go, 0 where none may."""
        seconds = self._seconds.get(collection)
        if seconds is None or seconds > _BRIEF_S or not _is_plain(options):
            return 0
        if self._wary and time.monotonic() < self._wary.get(collection, 0.0):
            return 0
        return min(_MOST_AT_ONCE, int(_AT_ONCE_S / seconds))

    def note(self, collection: Collection, options: SearchOptions, queries: int, seconds: float) -> None:
        """Take note of how long a search took."""
        if not queries or not _is_plain(options):
            return
        each = seconds / queries
        before = self._seconds.get(collection, each)
        # A thread may have waited for others meanwhile: what was faster once can be as fast again.
        self._seconds[collection] = min(each, before + _TRUST * (each - before))

    def note_late(self, collection: Collection, seconds: float) -> None:
        """Take note of how long the event loop was held."""
        if seconds > _LATE_S:
            self._wary[collection] = time.monotonic() + _WARY_S


def _is_plain(options: SearchOptions) -> bool:
    return (
        options.filter is None
        and options.group_by is None
        and options.max_distance is None
        and options.k <= _MOST_K
        and not (options.exact or options.with_metadata or options.with_vector)
    )
