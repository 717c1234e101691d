"""Scans by FAISS: the nearest of all rows, or of some, by float32 scores that are nearly right."""

from typing import Any

import faiss
import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.buffers import Integers

__all__ = ["SHARED_ROWS", "scan", "scan_at"]

SHARED_ROWS = 5_000  # fewer are measured before a team of threads has met
_SHARED_NUMBERS = 2**23  # fewer are compared by then: beside an import a team takes milliseconds to meet

_faiss: Any = faiss  # its stubs lack some of it


def scan(
    queries: Vectors, vectors: Vectors, fetch: int, *, product: bool, threads: int
) -> tuple[Integers, Vectors]:
    """Return the nearest rows of each query, and the worst score among them.

    Args:
        queries: (Q, D) contiguous.
        vectors: (N, D) contiguous.
        fetch: how many, at most N.
        product: compare inner products, not squared distances.
        threads: that FAISS may use.

    Returns:
        (Q, F) positions, -1 for those whose distance overflowed, and (Q,) scores.
    """
    positions = np.empty((len(queries), fetch), np.int64)
    scores = np.empty((len(queries), fetch), np.float32)
    arguments = [faiss.swig_ptr(queries), faiss.swig_ptr(vectors)]
    arguments += [queries.shape[1], len(queries), len(vectors), fetch]
    arguments += [faiss.swig_ptr(scores), faiss.swig_ptr(positions)]
    # OpenMP keeps this number per calling thread. They share out queries; more of them only wait.
    shared = len(queries) * vectors.size >= _SHARED_NUMBERS
    faiss.omp_set_num_threads(min(threads, len(queries)) if shared else 1)
    if product:
        _faiss.knn_inner_product(*arguments)
    else:
        _faiss.knn_L2sqr(*arguments)
    return positions, scores[:, -1]


def scan_at(
    queries: Vectors, vectors: Vectors, among: Integers, fetch: int, *, product: bool, threads: int
) -> tuple[Integers, Vectors]:
    """Return the nearest of some rows, and the worst score among them.

    For one search they are neither copied together, which takes three times as long, nor picked by a
    selector, twice.

    Args:
        queries: (Q, D) contiguous.
        vectors: (N, D) contiguous.
        among: (P,) positions of some of them.
        fetch: how many, at most P.
        product: compare inner products, not squared distances.
        threads: that FAISS may use.

    Returns:
        (Q, F) positions, -1 for those whose distance overflowed, and (Q,) scores.
    """
    positions = np.empty((len(queries), fetch), np.int64)
    worst = np.empty(len(queries), np.float32)
    scores = np.empty(len(among), np.float32)
    score = _faiss.fvec_inner_products_by_idx if product else _faiss.fvec_L2sqr_by_idx
    parts = threads if len(among) >= SHARED_ROWS else 1
    each, dimension = len(among) // parts, queries.shape[1]
    faiss.omp_set_num_threads(parts)
    for i, query in enumerate(queries):
        # Threads share out queries, not rows: so the same query comes several times, each with its own rows.
        asked = np.tile(query, (parts, 1))
        for at, number, rows in ((0, parts, each), (parts * each, 1, len(among) - parts * each)):
            if rows:
                pointers = [faiss.swig_ptr(one) for one in (scores[at:], asked, vectors, among[at:])]
                score(*pointers, dimension, number, rows)
        nearest = np.argpartition(-scores if product else scores, fetch - 1)[:fetch]
        positions[i], worst[i] = among[nearest], scores[nearest[-1]]
    return positions, worst
