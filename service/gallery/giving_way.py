"""Writes that leave the interpreter to searches for most of the time, while there are any."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

__all__ = ["Each", "giving_way"]

_LOOK = 8  # items: some tenths of a millisecond
_WORKED_S = 0.001
_PAUSES = 3.0  # times as long as it worked
_MOST_S = 0.01

Item = TypeVar("Item")
Each: TypeAlias = Callable[[Iterable[Item]], Iterator[Item]]


def giving_way(
    items: Iterable[Item],
    busy: Callable[[], bool],
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Item]:
    """Yield items, with a pause after each millisecond of work while others are busy.

    A search needs the interpreter a dozen times, for some tens of microseconds each. A thread that works in
    Python hands it over after 5 ms every time, and one that gives it away for a moment only has it back
    before the other is awake.

    Args:
        items: what is worked on, by whoever takes them.
        busy: whether somebody else may need the interpreter.
        clock: gives seconds.
        sleep: pauses for so many.
    """
    since = clock()
    for number, item in enumerate(items):
        if number and number % _LOOK == 0 and (worked := clock() - since) >= _WORKED_S:
            if busy():
                sleep(min(_MOST_S, _PAUSES * worked))
            since = clock()
        yield item
