"""Vectors that look like embeddings, who is nearest to a query, and how much of that was found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Rows", "Truth", "batches", "exact", "make_queries", "make_vectors", "recall"]

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]

_RANK = 40  # of the subspace that the identities lie in
_PER_IDENTITY = 20
_IDENTITIES = (2_000, 50_000)
_NOISE = 1.0  # its length beside a centre's
_CHUNK = 50_000
_TIE = 1e-5  # of a distance in float32


@dataclass(frozen=True, slots=True)
class Truth:
    """The exact answer.

    Attributes:
        rows: (Q, K) the nearest rows, nearest first.
        farthest: (Q,) the cosine similarity of the last of them.
    """

    rows: Rows
    farthest: Floats


def make_vectors(count: int, dimension: int, *, first: int = 0) -> Floats:
    """Return (count, D) float32 rows of length 1, the same for the same arguments.

    Each is the centre of one of 2,000 to 50,000 identities (some 20 items each) in a subspace of rank 40,
    with Gaussian noise in all dimensions that is as long as the centre.

    Args:
        count: rows.
        dimension: D.
        first: where there are rows already: these are further ones of the same identities.
    """
    centres = _centres(max(count, first), dimension)
    rng = np.random.default_rng([1, dimension, first])
    vectors = np.empty((count, dimension), np.float32)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        vectors[start:stop] = _around(centres, np.arange(first + start, first + stop) % len(centres), rng)
    return vectors


def make_queries(queries: int, count: int, dimension: int) -> Floats:
    """Return (queries, D) fresh draws of the identities that `make_vectors(count, D)` has."""
    centres = _centres(count, dimension)
    rng = np.random.default_rng([2, dimension, count])
    return _around(centres, rng.integers(len(centres), size=queries), rng)


def exact(vectors: Floats, queries: Floats, k: int) -> Truth:
    """Compare every query with every vector; both are of length 1."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    similarities, rows = index.search(queries, k)
    return Truth(rows, similarities[:, -1])


def recall(vectors: Floats, queries: Floats, truth: Truth, found: Sequence[Sequence[int]]) -> float:
    """Return the share of the K nearest that was found; one as near as the last of them counts as well.

    Args:
        vectors: (N, D) of length 1.
        queries: (Q, D) of length 1.
        truth: of them.
        found: rows for each query; a row that comes twice counts once.
    """
    hits = 0
    for query, farthest, rows in zip(queries, truth.farthest, found, strict=True):
        near = vectors[list(set(rows))] @ query >= farthest - _TIE
        hits += min(int(near.sum()), truth.rows.shape[1])
    return hits / truth.rows.size


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield the slices of `count` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _centres(count: int, dimension: int) -> Floats:
    """Return the identities' centres, of length 1."""
    identities = int(np.clip(count // _PER_IDENTITY, *_IDENTITIES))
    rng = np.random.default_rng([0, dimension])
    rank = min(_RANK, dimension)
    basis = rng.standard_normal((rank, dimension), dtype=np.float32)
    return _unit(rng.standard_normal((identities, rank), dtype=np.float32) @ basis)


def _around(centres: Floats, which: Rows, rng: np.random.Generator) -> Floats:
    dimension = centres.shape[1]
    noise = rng.standard_normal((len(which), dimension), dtype=np.float32)
    return _unit(centres[which] + noise * np.float32(_NOISE / np.sqrt(dimension)))


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
