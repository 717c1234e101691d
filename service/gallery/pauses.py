"""Pauses while many items are written, and between such writes, in which searches have the processors."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

__all__ = ["FEW_ITEMS", "Paced", "Rest", "with_pauses"]

FEW_ITEMS = 32  # so few are written without a rest, and may be read on the event loop

_LOOK_ITEMS = 8  # some tenths of a millisecond
_WORKED_S = 0.001  # a search waits for that, and not for the 5 ms after which the interpreter changes hands
_PAUSE_RATIO = 3.0  # one search in four meets a write then
_MOST_PAUSE_S = 0.01  # where an item took long by itself
_REST_RATIO = 10.0  # as long as the work, some three times as long as the write: so an import comes evenly
_MOST_REST_S = 3.0

Item = TypeVar("Item")
Paced: TypeAlias = Callable[[Iterable[Item]], Iterator[Item]]


def with_pauses(
    items: Iterable[Item],
    busy: Callable[[], bool],
    *,
    clock: Callable[[], float] = time.thread_time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Item]:
    """Yield items, with a pause after each millisecond of work while others are busy.

    A search needs the interpreter a dozen times, for some tens of microseconds each. A thread that works in
    Python hands it over after 5 ms every time, and one that gives it away for a moment only has it back
    before the other is awake.

    Args:
        items: what is worked on, by whoever takes them.
        busy: whether somebody else may need the interpreter.
        clock: gives the seconds that this thread has worked.
        sleep: pauses for so many.
    """
    since = clock()
    for number, item in enumerate(items):
        if number and number % _LOOK_ITEMS == 0 and (worked := clock() - since) >= _WORKED_S:
            if busy():
                sleep(min(_MOST_PAUSE_S, _PAUSE_RATIO * worked))
            since = clock()
        yield item


class Rest:
    """The rest after a large write: while there are searches, the next one begins when it is over."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        working: Callable[[], float] = time.thread_time,
    ) -> None:
        """Begin with none.

        Args:
            clock: gives seconds.
            working: gives those that this thread has worked.
        """
        self._clock, self._working = clock, working
        self._until, self._turn = -math.inf, threading.Lock()

    @property
    def over(self) -> bool:
        """Return whether there was time enough since."""
        return self._clock() >= self._until

    @contextmanager
    def after(self, items: int) -> Iterator[None]:
        """Give a block that writes so many, after which there is a rest if that is many.

        It is in proportion to the work, not to the time: who writes may have waited for others, whose rests
        add up.
        """
        began = self._working()
        yield
        if items <= FEW_ITEMS:
            return
        with self._turn:
            now = self._clock()
            rest_s = max(0.0, self._until - now) + _REST_RATIO * (self._working() - began)
            self._until = now + min(rest_s, _MOST_REST_S)
