"""What a search found, and the nearest of what was measured."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from service.gallery.index.buffers import Integers
from service.gallery.index.rounding import Floats

__all__ = ["Hits", "joined_hits", "nearest", "nearest_of_each"]


class Hits(NamedTuple):
    """One query's labels, nearest first, lower labels first among equals, and their exact distances."""

    labels: Integers
    distances: Floats


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


def nearest_of_each(labels: Integers, positions: Integers, distances: Floats, k: int) -> Iterator[Hits]:
    """Yield the k nearest rows of each query.

    Args:
        labels: (N,) of all rows, ascending.
        positions: (Q, F) of those that were measured; -1 stands for none, and comes last.
        distances: (Q, F) of these, infinite where there is none.
        k: how many; fewer come back where there are fewer.
    """
    order = np.lexsort((positions, distances))[:, :k]
    order += np.arange(0, positions.size, positions.shape[1])[:, np.newaxis]
    found, apart = labels.take(positions.take(order)), distances.take(order)
    if positions.shape[1] >= k and (positions[:, k - 1] >= 0).all():  # as a rule: in half of the time
        yield from map(Hits._make, zip(found, apart, strict=True))
        return
    counts = np.minimum(k, np.count_nonzero(positions >= 0, axis=1)).tolist()
    for one, far, count in zip(found, apart, counts, strict=True):
        yield Hits(one[:count], far[:count])


def joined_hits(hits: Sequence[Hits]) -> Hits:
    """Return those of queries, one or more, one after the other."""
    return Hits(np.concatenate([hit.labels for hit in hits]), np.concatenate([hit.distances for hit in hits]))
