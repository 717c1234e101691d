"""Ids that come more than once in a source, of which a collection keeps the last."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from service.cli.moving.rows import Row

__all__ = ["Repeats"]

_NAMED = 20


class Repeats:
    """Counts the rows whose id an earlier row of the source has, whenever that was sent."""

    def __init__(self) -> None:
        # A hash of each id: 8 bytes a row, 800 MB for 100 million, among which two ids of one hash are not
        # to be expected (about 1 in 4,000). The ids themselves would take ten times as much.
        self._hashes: array[int] = array("q")

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, and note their ids."""
        for row in rows:
            self._hashes.append(hash(row.id))
            yield row

    def count(self) -> int:
        """Return how many of the rows that were noted have the id of an earlier one."""
        return len(self._hashes) - len(self._distinct()[0])

    def names(self, rows: Iterable[Row]) -> list[str]:
        """Return some of the ids that come more than once, found among the same rows."""
        distinct, times = self._distinct()
        wanted = set(distinct[times > 1][:_NAMED].tolist())
        found: dict[str, None] = {}
        for row in rows:
            if len(found) == len(wanted):
                break
            if hash(row.id) in wanted:
                found[row.id] = None
        return list(found)

    def _distinct(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
        return np.unique(np.frombuffer(self._hashes, dtype=np.int64), return_counts=True)
