"""How large a batch may be."""

from dataclasses import dataclass

__all__ = ["BatchLimits", "BatchSize"]

_AIMED = 0.65  # of the target: of batches of one size some take half as long again as most
_LONGER = 4  # times the target, for a turn of many


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be, and how long it may take.

    Attributes:
        most: pictures.
        target_s: batches of one request's pictures are kept so small that they take no longer than this,
            where one picture does not: it is what a single picture waits for behind a long request.
        timeout_s: after which an encoder that does not answer is given up.
    """

    most: int
    target_s: float
    timeout_s: float


class BatchSize:
    """How many pictures the next batch may have, by how long the last ones took.

    Args:
        most: never more.
        target_s: that a batch should take at most, where one picture does not take longer; two thirds of it
            are aimed at.

    Attributes:
        now: from 1 to `most`.
    """

    def __init__(self, most: int, target_s: float) -> None:
        self._most, self._aim_s = most, _AIMED * target_s
        self.now = self._turn = 1  # nothing is known yet

    def for_requests(self, count: int) -> int:
        """Return how many pictures a batch may have where those of so many requests wait.

        One of each may be in it, within four times the target: who comes meanwhile has a turn after them in
        any case, and all have theirs the earlier the larger the batch.
        """
        return max(self.now, min(count, self._turn))

    def note(self, count: int, took_s: float) -> None:
        """Take note of a batch: fewer after one that took too long, up to twice as many after a full one."""
        fitting = int(count * self._aim_s / took_s) if took_s > 0 else self._most
        self._turn = min(self._most, _LONGER * max(1, fitting))
        if count >= self.now:
            self.now = max(1, min(self._most, fitting, 2 * self.now))
        elif took_s > self._aim_s:
            self.now = max(1, min(self.now, fitting))
