"""What a search found, and the nearest of what was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, overload

import numpy as np

from service.gallery.index.buffers import Integers
from service.gallery.index.rounding import Floats

__all__ = ["EvenHits", "Hits", "joined_hits", "nearest", "nearest_labels", "nearest_of_each", "stacked"]


class Hits(NamedTuple):
    """One query's labels, nearest first, lower labels first among equals, and their exact distances."""

    labels: Integers
    distances: Floats


# Put before others, so that there is something to concatenate where no query was asked.
_NONE = Hits(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True, slots=True, eq=False)
class EvenHits(Sequence[Hits]):
    """The hits of several queries, as many of each, without an object for each.

    Attributes:
        labels: (Q, k) as in `Hits`.
        distances: (Q, k) likewise.
    """

    labels: Integers
    distances: Floats

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Hits: ...
    @overload
    def __getitem__(self, index: slice) -> "EvenHits": ...
    def __getitem__(self, index: int | slice) -> "Hits | EvenHits":
        kind = EvenHits if isinstance(index, slice) else Hits
        return kind(self.labels[index], self.distances[index])


def nearest(labels: Integers, positions: Integers, distances: Floats, k: int, limit: float) -> Hits:
    """Return the k nearest of some rows.

    Args:
        labels: (N,) of all rows, ascending.
        positions: (F,) of those that were measured.
        distances: (F,) of these.
        k: how many; fewer come back where there are fewer.
        limit: only rows at most this far.
    """
    order = np.lexsort((positions, distances))[:k]  # positions grow with labels
    if limit < math.inf:
        order = order[distances[order] <= limit]
    return Hits(labels.take(positions.take(order)), distances.take(order))


def nearest_of_each(labels: Integers, positions: Integers, distances: Floats, k: int) -> Sequence[Hits]:
    """Return the k nearest rows of each query.

    Args:
        labels: (N,) of all rows, ascending.
        positions: (Q, F) of those that were measured; -1 stands for none, and comes last.
        distances: (Q, F) of these, infinite where there is none.
        k: how many; fewer come back where there are fewer.
    """
    order = np.lexsort((positions, distances))[:, :k]
    order += np.arange(0, positions.size, positions.shape[1])[:, np.newaxis]
    found = EvenHits(labels.take(positions.take(order)), distances.take(order))
    if positions.shape[1] >= k and (positions[:, k - 1] >= 0).all():
        return found
    counts = np.minimum(k, np.count_nonzero(positions >= 0, axis=1)).tolist()
    return [Hits(one[:count], far[:count]) for (one, far), count in zip(found, counts, strict=True)]


def nearest_labels(labels: Integers, distances: Floats, k: int) -> EvenHits:
    """Return the k nearest of (Q, F) rows of each query, by their labels and distances; at most F."""
    order = np.lexsort((labels, distances))[:, :k]
    order += np.arange(0, labels.size, labels.shape[1])[:, np.newaxis]
    return EvenHits(labels.take(order), distances.take(order))


def stacked(some: Sequence[EvenHits]) -> EvenHits:
    """Return the hits of queries, as many of each, one after the other."""
    if len(some) == 1:
        return some[0]
    return EvenHits(
        np.concatenate([hits.labels for hits in some]), np.concatenate([hits.distances for hits in some])
    )


def joined_hits(hits: Sequence[Hits]) -> tuple[Hits, Sequence[int]]:
    """Return those of queries one after the other, and where those of each end."""
    if isinstance(hits, list) and len(hits) == 1:
        return hits[0], [len(hits[0].labels)]
    if isinstance(hits, EvenHits):
        each = hits.labels.shape[1]
        ends = [each * number for number in range(1, len(hits) + 1)]
        return Hits(hits.labels.ravel(), hits.distances.ravel()), ends
    labels = np.concatenate([_NONE.labels, *(one.labels for one in hits)])
    distances = np.concatenate([_NONE.distances, *(one.distances for one in hits)])
    return Hits(labels, distances), list(accumulate(len(one.labels) for one in hits))
