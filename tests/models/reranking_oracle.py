"""k-reciprocal re-ranking as its formula reads: four dense N x N matrices and a loop over the rows."""

import numpy as np
import numpy.typing as npt

__all__ = ["Matrix", "dense_rerank"]

Matrix = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]


def dense_rerank(squares: Matrix, queries: int, *, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Matrix:
    """Return the (Q, G) re-ranked distances of squared distances (N, N), queries first, in their dtype.

    Equal distances keep the order of the rows, and a row without any distance but 0 stays 0.
    """
    largest = squares.max(axis=1, keepdims=True)
    d = squares / np.where(largest == 0, 1, largest)
    order = np.argsort(d, axis=1, kind="stable")
    v = np.zeros_like(d)
    for i in range(len(d)):
        members = reciprocal(order, i, k1)
        united = members
        for j in members:
            theirs = reciprocal(order, int(j), int(np.around(k1 / 2)))
            if 3 * len(np.intersect1d(theirs, members)) > 2 * len(theirs):
                united = np.union1d(united, theirs)
        if len(united):
            weights = np.exp(-d[i, united])
            v[i, united] = weights / weights.sum()
    if k2 > 1:
        v = np.stack([v[order[i, :k2]].mean(axis=0) for i in range(len(v))])
    return (1 - weight) * jaccard(v, queries) + weight * d[:queries, queries:]


def reciprocal(order: Rows, i: int, k: int) -> Rows:
    """Return R(i, k): the rows of N(i, k + 1) that have i among their own."""
    nearest = order[i, : k + 1]
    mutual: Rows = nearest[(order[nearest, : k + 1] == i).any(axis=1)]
    return mutual


def jaccard(v: Matrix, queries: int) -> Matrix:
    """Return 1 - m / (2 - m) of the queries and the gallery; m is added up column by column."""
    gallery = v[queries:]
    holders = [np.flatnonzero(column) for column in gallery.T]
    m = np.zeros((queries, len(gallery)), dtype=v.dtype)
    for i in range(queries):
        for j in np.flatnonzero(v[i]):
            m[i, holders[j]] += np.minimum(v[i, j], gallery[holders[j], j])
    return np.asarray(1 - m / (2 - m))
