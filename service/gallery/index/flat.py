"""Exact nearest neighbours, by scanning.

FAISS proposes and float64 disposes. FAISS's float32 distances come from ||q||^2 + ||y||^2 - 2 <q, y> and
lose digits, so it is asked for more candidates than wanted; these are measured again exactly; and the answer
stands only where no row that FAISS left out can be nearer, which its rounding error bounds. Otherwise more
are fetched, at last all. FAISS's squared L2, the sign of its inner product and its ids of -1 are seen
nowhere else.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.errors import LookalikeError
from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.buffers import Integers, Rows, taken, with_room
from service.gallery.index.hits import Hits, nearest, nearest_of_each
from service.gallery.index.locating import located
from service.gallery.index.measuring import BLOCK_NUMBERS, Measure, squares
from service.gallery.index.packed import Packed
from service.gallery.index.proposing import Proposals

__all__ = ["FlatIndex", "StaleLabelsError"]

Mask: TypeAlias = npt.NDArray[np.bool_]

_MAX_DEAD_SHARE = 0.2


class StaleLabelsError(LookalikeError):
    """Labels to search among that the index does not hold (any more, or yet)."""


class FlatIndex:
    """Vectors by label, searched by scanning. Immutable: `changed` returns the next one.

    So a search holds one state for as long as it takes, and a writer swaps a single reference. An index and
    its successors share their buffers, each reading only its own first rows; hence only the newest may be
    changed, by one thread at a time. A change that is not kept costs nothing.

    Attributes:
        metric, measure: how rows are compared.
        threads: that FAISS may use in one search.
        longest: the largest norm of a row, dead ones included.
    """

    def __init__(self, dimension: int, metric: CollectionMetric, *, threads: int = 1) -> None:
        """Make an empty one; `threads` is how many FAISS may use in one search."""
        self.metric = metric
        self.measure = Measure(metric)
        self._compacts = True
        self.threads = threads
        self._rows = Rows(np.empty((0, dimension), np.float32), np.empty(0, np.int64))
        self._alive: Mask = np.empty(0, np.bool_)
        self._living = 0
        self.longest = 0.0

    @classmethod
    def over(
        cls, labels: Integers, vectors: Vectors, metric: CollectionMetric, *, threads: int = 1
    ) -> "FlatIndex":
        """Return an index of rows that lie elsewhere, in a file it may be; rows are only removed from it.

        Args:
            labels: (N,) ascending.
            vectors: (N, D) as they are searched: under cosine, of length 1.
            metric: how they are compared.
            threads: as above.
        """
        index = cls(vectors.shape[1], metric, threads=threads)
        index._compacts = False
        index._rows = Rows(vectors, labels)
        index._alive = np.ones(len(labels), np.bool_)
        index._living = len(labels)
        if metric == "inner_product":  # the others' bounds do not need it
            step = BLOCK_NUMBERS // vectors.shape[1] + 1
            longest = [squares(vectors[at : at + step]).max() for at in range(0, len(vectors), step)]
            index.longest = float(np.sqrt(max(longest, default=0.0)))
        return index

    @classmethod
    def of_living(cls, parts: Sequence["FlatIndex"], *, after: int, in_place: bool = False) -> "FlatIndex":
        """Return an index of its own of the rows above a label of some indexes that are not removed.

        Args:
            parts: one at least; each one's labels are above those of the one before.
            after: a label.
            in_place: whether its rows are to stay where they are when others are removed.
        """
        kept = []
        for part in parts:
            first = int(np.searchsorted(part.labels, after, side="right"))
            kept.append(first + np.flatnonzero(part.alive[first:]))
        pairs = [*zip(parts, kept, strict=True)]
        index = cls(parts[0].vectors.shape[1], parts[0].metric, threads=parts[0].threads)
        vectors = np.concatenate([taken(part.vectors, some) for part, some in pairs])
        index._rows = Rows(vectors, np.concatenate([part.labels[some] for part, some in pairs]))
        index._alive = np.ones(len(vectors), np.bool_)
        index._living = len(vectors)
        index.longest = max(part.longest for part in parts)
        index._compacts = not in_place
        return index

    def __len__(self) -> int:
        return self._living

    @property
    def rows(self) -> int:
        """Return how many rows it has, dead ones included."""
        return len(self._alive)

    @property
    def labels(self) -> Integers:
        """Return (N,) the labels of its rows, dead ones included."""
        return self._rows.labels[: len(self._alive)]

    @property
    def vectors(self) -> Vectors:
        """Return (N, D) its rows as they are searched, dead ones included; not to be changed."""
        return self._rows.vectors[: len(self._alive)]

    @property
    def alive(self) -> Mask:
        """Return (N,) which rows are not removed; not to be changed."""
        return self._alive

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes its buffers take."""
        return self._rows.vectors.nbytes + self._rows.labels.nbytes + self._alive.nbytes

    def changed(self, *, removed: npt.ArrayLike, labels: npt.ArrayLike, vectors: Vectors) -> "FlatIndex":
        """Return the index without some labels and with some new ones, at once.

        Args:
            removed: (R,) labels that it holds.
            labels: (N,) ascending, each above every label it ever held.
            vectors: (N, D) finite, and under cosine not zero.
        """
        vectors = self.measure.prepared(vectors)
        return self._changed(np.asarray(removed, np.int64), np.asarray(labels, np.int64), vectors)

    def joined(self, newer: "FlatIndex") -> "FlatIndex":
        """Return the index with the rows of another that are not removed; their labels are above its own."""
        # The buffers are this one's. Others may remove rows of it meanwhile, where these stay in place.
        kept = np.flatnonzero(newer.alive)
        return self._changed(np.empty(0, np.int64), newer.labels[kept], taken(newer.vectors, kept))

    def _changed(self, removed: Integers, labels: Integers, vectors: Vectors) -> "FlatIndex":
        new = FlatIndex(vectors.shape[1], self.metric, threads=self.threads)
        new._compacts = self._compacts
        size, grown = len(self._alive), len(self._alive) + len(labels)
        new._alive = np.concatenate([self._alive, np.ones(len(labels), np.bool_)])
        new._alive[self._positions(removed)] = False
        new._living = int(np.count_nonzero(new._alive)) if len(removed) else self._living + len(labels)
        new._rows = with_room(self._rows, size, grown)
        if len(labels):  # the buffers of what lies in a file cannot be written, not even nothing
            new._rows.vectors[size:grown] = vectors
            new._rows.labels[size:grown] = labels
        new.longest = max(self.longest, float(np.sqrt(squares(vectors).max(initial=0.0))))
        if self._compacts and new._living < (1 - _MAX_DEAD_SHARE) * grown:
            new._compact()
        return new

    def without(self, removed: npt.ArrayLike) -> "FlatIndex":
        """Return the index without these labels, all of which it holds."""
        none = np.empty((0, self._rows.vectors.shape[1]), np.float32)
        return self.changed(removed=removed, labels=[], vectors=none)

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        max_distance: float | None = None,
        allowed: Integers | None = None,
        at_once: bool = False,
    ) -> list[Hits]:
        """Return each query's k nearest rows, exactly; with k = len(index), all within max_distance.

        Args:
            queries: (Q, D) finite.
            k: how many; fewer come back only where no more qualify.
            max_distance: only rows at most this far.
            allowed: only rows of these labels.
            at_once: by one thread, as it is brief.

        Raises:
            DomainError: a query is a zero vector, and the metric is cosine.
            StaleLabelsError: it does not hold one of the allowed labels.
        """
        among = None if allowed is None else self.positions_of(allowed)
        return self.search_at(queries, k, among, max_distance=max_distance, at_once=at_once)

    def search_at(
        self,
        queries: Vectors,
        k: int,
        among: Integers | None,
        *,
        packed: Packed | None = None,
        max_distance: float | None = None,
        at_once: bool = False,
    ) -> list[Hits]:
        """Return each query's k nearest of some rows, exactly; see `search`.

        Args:
            queries: (Q, D) finite.
            k: how many.
            among: at what `positions_of` returned; None for all that are not removed.
            packed: codes of the rows at these, where there are some.
            max_distance: only rows at most this far.
            at_once: by one thread, as it is brief; where codes do not tell what is nearest, give up.

        Raises:
            TakesLongError: it was to be done at once.
        """
        queries = self.measure.prepared(queries)
        threads = 1 if at_once else self.threads
        proposals = Proposals(
            self.vectors, self._living, self.measure, self.longest, among, packed, threads, at_once
        )
        k = min(k, proposals.candidates)
        limit = math.inf if max_distance is None else max_distance
        if k == 0:
            return [Hits(np.empty(0, np.int64), np.empty(0)) for _ in queries]
        found: dict[int, Hits] = {}
        pending = list(range(len(queries)))
        for way in proposals.ways(k):
            for i, some, floor in zip(pending, *way(queries[pending]), strict=True):
                positions = some[some >= 0]  # the floors are below the distances of those that overflowed
                positions = positions[self._alive[positions]]
                distances = self.measure.distances(queries[i], taken(self._rows.vectors, positions))
                hits = nearest(self._rows.labels, positions, distances, k, limit)
                if floor > (hits.distances[-1] if len(hits.distances) == k else limit):
                    found[i] = hits
            pending = [i for i in pending if i not in found]
            if not pending:
                break
        if pending:
            everyone = np.flatnonzero(self._alive) if among is None else among
        for i in pending:
            distances = self.measure.scan(queries[i], self._rows.vectors, everyone)
            found[i] = nearest(self._rows.labels, everyone, distances, k, limit)
        return [found[i] for i in range(len(queries))]

    def measured(self, queries: Vectors, positions: Integers, k: int) -> Sequence[Hits]:
        """Return each query's k nearest of some rows, exactly; of several queries as `EvenHits`, mostly.

        Args:
            queries: (Q, D) prepared.
            positions: (Q, F) of rows that are not removed; -1 stands for none, and comes last.
            k: how many; fewer come back where there are fewer.
        """
        if len(queries) == 1 and positions[0, -1] >= 0:  # as most: in two thirds of the time
            distances = self.measure.distances(queries[0], taken(self._rows.vectors, positions[0]))
            return [nearest(self._rows.labels, positions[0], distances, k, math.inf)]
        step = max(1, BLOCK_NUMBERS // max(1, positions.shape[1] * queries.shape[1]))
        if len(queries) <= step:
            return self._measured(queries, positions, k)
        hits: list[Hits] = []
        for at in range(0, len(queries), step):
            hits += self._measured(queries[at : at + step], positions[at : at + step], k)
        return hits

    def _measured(self, queries: Vectors, positions: Integers, k: int) -> Sequence[Hits]:
        if -1 not in positions[:, -1:].ravel().tolist():
            distances = self.measure.paired(queries, taken(self._rows.vectors, positions))
        else:
            none = positions < 0
            distances = self.measure.paired(queries, taken(self._rows.vectors, np.where(none, 0, positions)))
            distances[none] = math.inf
        return nearest_of_each(self._rows.labels, positions, distances, k)

    def positions_of(self, labels: Integers) -> Integers:
        """Return (P,) the positions of the rows of (P,) labels.

        Raises:
            StaleLabelsError: it does not hold one of them.
        """
        positions = self._positions(labels)
        if self._living < len(self._alive) and not self._alive[positions].all():
            raise StaleLabelsError("Some of these labels are of rows that were removed.")
        return positions

    def _positions(self, labels: Integers) -> Integers:
        positions = located(labels, self._rows.labels[: len(self._alive)])
        if positions is None:
            raise StaleLabelsError("Some of these labels are not in the index.")
        return positions

    def _compact(self) -> None:
        kept = np.flatnonzero(self._alive)
        self._rows = Rows(self._rows.vectors[kept], self._rows.labels[kept])
        self._alive = np.ones(len(kept), np.bool_)
        self.longest = float(np.sqrt(squares(self._rows.vectors).max(initial=0.0)))
