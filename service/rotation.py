"""Items of many owners, taken by turns: who brings a thousand does not stand in front of who brings one."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Rotation"]

Owner = TypeVar("Owner")
Item = TypeVar("Item")


class Rotation(Generic[Owner, Item]):
    """One item of each owner, then the next of each; those of one owner in the order in which they came.

    Not safe for several threads: whoever shares one holds a lock.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[Owner, deque[Item]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Return how many items wait."""
        return self._count

    @property
    def owners(self) -> int:
        """Return how many have items that wait."""
        return len(self._lines)

    def add(self, owner: Owner, item: Item) -> None:
        """Put an item at the end of its owner's line; an owner that had none is the last to have a turn."""
        self._lines.setdefault(owner, deque()).append(item)
        self._count += 1

    def waiting(self, owner: Owner) -> int:
        """Return how many items of an owner wait."""
        return len(self._lines.get(owner, ()))

    def take(self, may: Callable[[Owner], bool] = lambda owner: True) -> tuple[Owner, Item] | None:
        """Take the next item by turns, of an owner that may have one; None where there is none."""
        owner = next(filter(may, self._lines), None)
        if owner is None:
            return None
        line = self._lines[owner]
        item = line.popleft()
        self._count -= 1
        if line:
            self._lines.move_to_end(owner)
        else:
            del self._lines[owner]
        return owner, item

    def drop(self, owner: Owner) -> list[Item]:
        """Remove all items of an owner, and return them."""
        items = list(self._lines.pop(owner, ()))
        self._count -= len(items)
        return items

    def drop_all(self) -> list[tuple[Owner, Item]]:
        """Remove all items, and return them."""
        items = [(owner, item) for owner, line in self._lines.items() for item in line]
        self._lines.clear()
        self._count = 0
        return items
