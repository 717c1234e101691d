"""Work on many items that leaves the interpreter to searches for most of the time, while there are any."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

__all__ = ["Paced", "with_pauses"]

_LOOK_ITEMS = 8  # some tenths of a millisecond
_WORKED_S = 0.001  # a search waits for that, and not for the 5 ms after which the interpreter changes hands
_PAUSE_RATIO = 3.0  # one search in four meets a write then
_MOST_PAUSE_S = 0.01  # where an item took long by itself

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
