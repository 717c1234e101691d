"""The index of a collection: sealed rows and newer ones with what makes them fast, and the newest."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import FlatIndex, Mask
from service.gallery.index.hits import Hits
from service.gallery.index.joint import joint_search
from service.gallery.index.locating import which_live
from service.gallery.index.sealed import LabelOrder, Sealed
from service.gallery.index.sizes import Sizes

__all__ = ["Index"]

_USUAL = Sizes()
_LEAST_NUMBERS = 64  # are compared while a row is found, and taken or not
_MOST_DEAD_SHARE = 0.8  # of the recent rows: beyond it their graph is of no use


class Index:
    """Vectors by label. Immutable: `changed` returns the next one, and only the newest may be changed.

    What is new is scanned until `with_recent` or `with_sealed` takes it over.

    Attributes:
        metric: how rows are compared.
        threads: that FAISS may use in one search.
        version: grows with every change.
        sealed: rows that lie in a snapshot.
        recent: newer ones, in memory; only beside sealed ones.
        delta: the newest.
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
        self.version = 0
        self.sealed: Sealed | None = None
        self.recent: Sealed | None = None
        self.delta = FlatIndex(dimension, metric, threads=threads)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    @property
    def dimension(self) -> int:
        """Return D."""
        return int(self.delta.vectors.shape[1])

    @property
    def last_label(self) -> int:
        """Return the highest label that it holds or has sealed, 0 where there is none."""
        newest = self.delta.labels
        return int(newest[-1]) if len(newest) else self._known_to

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes it takes; rows in a file count, for used ones are in memory."""
        older = sum(part.memory_bytes for part in (self.sealed, self.recent) if part)
        return older + self.delta.memory_bytes

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
        sealed, recent = self.sealed, self.recent
        first, last = self._sealed_to, self._known_to
        delta = self.delta.changed(removed=removed[removed > last], labels=labels, vectors=vectors)
        if recent:
            recent = recent.without(removed[(removed > first) & (removed <= last)])
        return self._next(sealed.without(removed[removed <= first]) if sealed else None, recent, delta)

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
        kept, last = _of_living(sealed, living), sealed.last_label
        if self.recent and self.recent.last_label > last:
            held = self.recent.living()
            recent = self.recent.without(held[held <= last])
            if recent.dead_share <= _MOST_DEAD_SHARE:
                return self._next(kept, recent, self.delta)
        return self._next(kept, None, self._newer(last))

    def with_recent(self, recent: Sealed) -> "Index":
        """Return the index with rows of which it scanned some, and held all, some time ago.

        Where there are none, or many have died since or are sealed, it stays as it is.
        """
        if self.sealed is None or not recent.rows.rows:
            return self
        newer = [part.labels[part.alive] for part in self._parts[1:]]
        kept = _of_living(recent, np.concatenate(newer))
        if kept.dead_share > _MOST_DEAD_SHARE:
            return self
        return self._next(self.sealed, kept, self._newer(recent.last_label))

    def forgetting(self) -> "Index":
        """Return the index without what was made of rows in memory to search them faster."""
        sealed, recent = self.sealed, self.recent
        return self._next(sealed and sealed.forgetting(), recent and recent.forgetting(), self.delta)

    def newer(self, *, in_place: bool = False) -> FlatIndex:
        """Return an index of its own of the rows newer than the sealed ones; see `FlatIndex.of_living`."""
        return self._newer(self._sealed_to, in_place=in_place)

    def unsealed(self) -> "Index":
        """Return the index with all its rows in memory, scanned."""
        return self._next(None, None, self._newer(0))

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
        several = self.sealed if self.recent or self.delta.rows else None
        if several and allowed is None and max_distance is None and not exact:
            hits = joint_search(several, self.recent, self.delta, queries, k)
            if hits is not None:
                return hits
        found: list[Sequence[Hits]] = []
        for part, newer in ((self.sealed, self.recent or self.delta.rows), (self.recent, self.delta.rows)):
            if part is None:
                continue
            some = allowed
            if allowed is not None and newer:
                some, allowed = part.split(allowed)
            scanned = exact or (some is not None and len(some) <= self._scanned_rows)
            found.append(part.search(queries, k, some, scanned=scanned, limit=max_distance, at_once=at_once))
        if self.delta.rows or not found:
            found.append(
                self.delta.search(queries, k, max_distance=max_distance, allowed=allowed, at_once=at_once)
            )
        return found[0] if len(found) == 1 else [_merged(parts, k) for parts in zip(*found, strict=True)]

    def weight(self, allowed: Integers) -> int:
        """Return about how many numbers are compared to scan some labels, or how many take as long.

        A short row has its own cost.
        """
        rows = len(allowed)
        if self.sealed is not None:
            newer = self.recent or self.delta.rows
            old = rows - (int(np.count_nonzero(allowed > self._sealed_to)) if newer else 0)
            rows += self.sealed.weight(old) - old
        return rows * max(self.dimension, _LEAST_NUMBERS)

    def encode_if_due(self, order: LabelOrder) -> None:
        """Make codes of the sealed rows where filtered searches took long; see `Sealed.encode_if_due`."""
        if self.sealed is not None:
            self.sealed.encode_if_due(order)

    @property
    def _parts(self) -> list[FlatIndex]:
        return [*(part.rows for part in (self.sealed, self.recent) if part), self.delta]

    @property
    def _sealed_to(self) -> int:
        return self.sealed.last_label if self.sealed else 0

    @property
    def _known_to(self) -> int:
        """Return the highest label that is not the delta's, 0 where there is none."""
        return self.recent.last_label if self.recent else self._sealed_to

    def _newer(self, label: int, *, in_place: bool = False) -> FlatIndex:
        """Return its living rows above a label."""
        parts = [part for part in self._parts if part.rows and part.labels[-1] > label]
        return FlatIndex.of_living(parts or [self.delta], after=label, in_place=in_place)

    def _next(self, sealed: Sealed | None, recent: Sealed | None, delta: FlatIndex) -> "Index":
        index = Index.__new__(Index)
        index.metric, index.threads, index._scanned_rows = self.metric, self.threads, self._scanned_rows
        index.sealed, index.recent, index.delta = sealed, recent, delta
        index.version = self.version + 1
        return index


def _of_living(part: Sealed, living: Integers) -> Sealed:
    """Return what is left of some rows where only (L,) ascending labels live."""
    kept = living[living <= part.last_label]
    gone = np.ones(part.rows.rows, np.bool_)
    gone[np.searchsorted(part.rows.labels, kept)] = False
    gone &= part.rows.alive
    return part.without(part.rows.labels[gone])


def _merged(parts: Sequence[Hits], k: int) -> Hits:
    """Return the nearest of all, lower labels first among equals."""
    labels = np.concatenate([hits.labels for hits in parts])
    distances = np.concatenate([hits.distances for hits in parts])
    order = np.lexsort((labels, distances))[:k]
    return Hits(labels[order], distances[order])
