"""The best item of each identity, where identities have many items: by numbers in memory, not by names."""

import numpy as np
import numpy.typing as npt

from service.gallery.collection import Vectors
from service.gallery.index.flat import StaleLabelsError
from service.gallery.index.hits import Hits
from service.gallery.index.segments import Index
from service.gallery.label_reads import Members
from service.gallery.store import Record

__all__ = ["Groups"]

_ROUNDS = 6  # of looking without the identities that are found already; then all are measured
_SPARE = 256


class Groups:
    """Who belongs together in a collection, as of the last index that was asked about. Thread-safe."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._last: tuple[int, Members] | None = None

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes it takes: 16 for each item, once a search has needed it."""
        last = self._last
        return 0 if last is None else last[1].labels.nbytes + last[1].numbers.nbytes

    def members(self, index: Index) -> Members:
        """Return the labels of an index that have an identity, and the number of each one's identity.

        Raises:
            StaleLabelsError: the record is ahead of the index; take the newest.
        """
        last = self._last
        if last is None or last[0] != index.version:
            members, rows = self._record.members(up_to=index.last_label)
            if rows != len(index):
                raise StaleLabelsError(f"The record has {rows} of {len(index)} rows that are in the index.")
            last = self._last = (index.version, members)
        return last[1]

    def best(
        self,
        index: Index,
        query: Vectors,
        k: int,
        kept: npt.NDArray[np.bool_],
        *,
        max_distance: float | None,
    ) -> Hits:
        """Return the nearest item of each of the k nearest identities, exactly.

        Args:
            index: that `members` was asked about.
            query: (1, D).
            k: how many identities.
            kept: (N,) which of the members may be found.
            max_distance: only items at most this far.
        """
        members = self.members(index)
        labels, numbers = members.labels[kept], members.numbers[kept]
        best: list[Hits] = []
        missing = k
        for round_ in range(_ROUNDS + 1):
            fetch = len(labels) if round_ == _ROUNDS else min(len(labels), k + _SPARE)
            (hits,) = index.search(query, fetch, max_distance=max_distance, allowed=labels, exact=True)
            found = numbers[np.searchsorted(labels, hits.labels)]
            firsts = np.sort(np.unique(found, return_index=True)[1])[:missing]
            best.append(Hits(hits.labels[firsts], hits.distances[firsts]))
            missing -= len(firsts)
            if not missing or len(hits.labels) < fetch or fetch == len(labels):
                break
            others = ~np.isin(numbers, found)
            labels, numbers = labels[others], numbers[others]
        return Hits(
            np.concatenate([hits.labels for hits in best]), np.concatenate([hits.distances for hits in best])
        )
