"""The index of a collection: sealed rows with what makes them fast, and a delta of what is new."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import FlatIndex, Mask
from service.gallery.index.hits import Hits
from service.gallery.index.locating import which_live
from service.gallery.index.sealed import LabelOrder, Sealed
from service.gallery.index.sizes import Sizes

__all__ = ["Index"]

_USUAL = Sizes()
_LEAST_NUMBERS = 64  # are compared while a row is found, and taken or not


class Index:
    """Vectors by label. Immutable: `changed` returns the next one, and only the newest may be changed.

    What is new is scanned until `with_sealed` takes it over.
    """

    def __init__(
        self,
        dimension: int,
        metric: CollectionMetric,
        *,
        threads: int = 1,
        scanned_rows: int = _USUAL.scanned_rows,
    ) -> None:
        """Make an empty one.

        Args:
            dimension: D.
            metric: how rows are compared.
            threads: that FAISS may use in one search.
            scanned_rows: where at most so many sealed ones are allowed, they are measured one by one.
        """
        self.metric, self.threads, self._scanned_rows = metric, threads, scanned_rows
        self.version = 0  # grows with every change
        self.sealed: Sealed | None = None
        self.delta = FlatIndex(dimension, metric, threads=threads)

    def __len__(self) -> int:
        return len(self.delta) + (len(self.sealed.rows) if self.sealed else 0)

    @property
    def dimension(self) -> int:
        """Return D."""
        return int(self.delta.vectors.shape[1])

    @property
    def last_label(self) -> int:
        """Return the highest label that it holds or has sealed, 0 where there is none."""
        newest = self.delta.labels
        return int(newest[-1]) if len(newest) else self._sealed_to

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes it takes; rows in a file count, for used ones are in memory."""
        sealed = self.sealed
        own = 0 if sealed is None else sealed.memory_bytes
        fast = sealed.accelerator.memory_bytes if sealed and sealed.accelerator else 0
        return self.delta.memory_bytes + own + fast

    def changed(self, *, removed: npt.ArrayLike, labels: npt.ArrayLike, vectors: Vectors) -> "Index":
        """Return the index without some labels and with some new ones, at once.

        Args:
            removed: (R,) labels that it holds.
            labels: (N,) ascending, each above every label it ever held.
            vectors: (N, D) finite, and under cosine not zero.

        Raises:
            StaleLabelsError: it does not hold one of the removed labels.
        """
        removed = np.asarray(removed, np.int64)
        old, new = self._split(removed)
        delta = self.delta.changed(removed=new, labels=labels, vectors=vectors)
        return self._next(self.sealed.without(old) if self.sealed else None, delta)

    def without(self, removed: npt.ArrayLike) -> "Index":
        """Return the index without these labels, all of which it holds."""
        return self.changed(removed=removed, labels=[], vectors=np.empty((0, self.dimension), np.float32))

    def with_sealed(self, sealed: Sealed, *, living: Integers | None = None) -> "Index":
        """Return the index with other sealed rows, which hold what it held some time ago.

        What has died since is dead there too; what has come since is the delta.

        Args:
            sealed: the rows.
            living: (L,) the labels that live, where that is not what this index holds.
        """
        living = self.living() if living is None else living
        kept = living[living <= sealed.last_label]
        gone = np.ones(sealed.rows.rows, np.bool_)
        gone[np.searchsorted(sealed.rows.labels, kept)] = False
        gone &= sealed.rows.alive
        return self._next(sealed.without(sealed.rows.labels[gone]), self.delta.after(sealed.last_label))

    def forgetting(self) -> "Index":
        """Return the index without what was made of sealed rows in memory to search them faster."""
        return self._next(self.sealed.forgetting() if self.sealed else None, self.delta)

    def unsealed(self) -> "Index":
        """Return the index with all its rows in memory, scanned."""
        if self.sealed is None:
            return self
        rows = self.sealed.rows.after(0)
        return self._next(
            None, rows.changed(removed=[], labels=(new := self.delta.after(0)).labels, vectors=new.vectors)
        )

    def living(self) -> Integers:
        """Return (N,) the labels that it holds, ascending."""
        return np.concatenate([part.labels[part.alive] for part in self._parts])

    def living_after(self, label: int) -> int:
        """Return how many labels it holds above one."""
        starts = [int(np.searchsorted(part.labels, label, side="right")) for part in self._parts]
        return sum(
            len(part) if not start else int(np.count_nonzero(part.alive[start:]))
            for part, start in zip(self._parts, starts, strict=True)
        )

    def holds(self, labels: Integers) -> Mask:
        """Return (L,) which of some labels, no two of them equal, it holds."""
        held: Mask = np.any([which_live(labels, part.labels, part.alive) for part in self._parts], axis=0)
        return held

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        max_distance: float | None = None,
        allowed: Integers | None = None,
        exact: bool = False,
        at_once: bool = False,
    ) -> Sequence[Hits]:
        """Return each query's k nearest rows; exactly, save where an accelerator proposes them.

        Distances are exact always. With max_distance, and where at most `scanned_rows` are allowed, so are
        the rows that are found. Fewer than k come back only where no more qualify.

        Args:
            queries: (Q, D) finite.
            k: how many.
            max_distance: only rows at most this far.
            allowed: only rows of these labels, in any order; the same array again is recognised.
            exact: measure all.
            at_once: by one thread, as it is brief; where codes do not tell what is nearest, give up.

        Raises:
            DomainError: a query is a zero vector, and the metric is cosine.
            StaleLabelsError: it does not hold one of the allowed labels.
            TakesLongError: it was to be done at once.
        """
        if self.sealed is None:
            return self.delta.search(queries, k, max_distance=max_distance, allowed=allowed, at_once=at_once)
        old, new = allowed, None
        if allowed is not None and self.delta.rows:
            old, new = self.sealed.split(allowed)
        scanned = exact or (old is not None and len(old) <= self._scanned_rows)
        found = self.sealed.search(queries, k, old, scanned=scanned, limit=max_distance, at_once=at_once)
        if not self.delta.rows:
            return found
        newer = self.delta.search(queries, k, max_distance=max_distance, allowed=new, at_once=at_once)
        return [_merged(pair, k) for pair in zip(found, newer, strict=True)]

    def weight(self, allowed: Integers) -> int:
        """Return about how many numbers are compared to scan some labels, or how many take as long.

        A short row has its own cost.
        """
        rows = len(allowed)
        if self.sealed is not None:
            old = rows - (int(np.count_nonzero(allowed > self._sealed_to)) if self.delta.rows else 0)
            rows += self.sealed.weight(old) - old
        return rows * max(self.dimension, _LEAST_NUMBERS)

    def encode_if_due(self, order: LabelOrder) -> None:
        """Make codes of the sealed rows where filtered searches took long; see `Sealed.encode_if_due`."""
        if self.sealed is not None:
            self.sealed.encode_if_due(order)

    @property
    def _parts(self) -> list[FlatIndex]:
        return [self.sealed.rows, self.delta] if self.sealed else [self.delta]

    @property
    def _sealed_to(self) -> int:
        return self.sealed.last_label if self.sealed else 0

    def _split(self, labels: Integers) -> tuple[Integers, Integers]:
        """Return which of some labels are sealed, and which are not."""
        sealed = labels <= self._sealed_to
        return labels[sealed], labels[~sealed]

    def _next(self, sealed: Sealed | None, delta: FlatIndex) -> "Index":
        index = Index.__new__(Index)
        index.metric, index.threads, index._scanned_rows = self.metric, self.threads, self._scanned_rows
        index.sealed, index.delta, index.version = sealed, delta, self.version + 1
        return index


def _merged(parts: Sequence[Hits], k: int) -> Hits:
    """Return the nearest of both, lower labels first among equals."""
    labels = np.concatenate([hits.labels for hits in parts])
    distances = np.concatenate([hits.distances for hits in parts])
    order = np.lexsort((labels, distances))[:k]
    return Hits(labels[order], distances[order])
