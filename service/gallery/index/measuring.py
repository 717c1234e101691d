"""Exact distances between a query and rows, in float64."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import DomainError, NonFiniteError
from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.buffers import Integers, taken
from service.gallery.index.rounding import Floats, product_floors, square_floors

__all__ = ["BLOCK_NUMBERS", "Measure", "squares"]

BLOCK_NUMBERS = 2**21  # of float64 while many rows are measured: 16 MiB


@dataclass(frozen=True, slots=True)
class Measure:
    """How the rows of a collection are compared."""

    metric: CollectionMetric

    def prepared(self, vectors: Vectors) -> Vectors:
        """Return (N, D) vectors as they are compared: under cosine, scaled to length 1.

        Raises:
            NonFiniteError: a row holds NaN or infinity.
            DomainError: the metric is cosine, and a row is zero.
        """
        wide = vectors.astype(np.float64)  # a copy, which is divided below
        sums: Floats = np.vecdot(wide, wide)
        for row, total in enumerate(sums.tolist()):
            if not total < math.inf:
                raise NonFiniteError(f"Vector {row} holds NaN or infinity.", row=row)
            if not total and self.metric == "cosine":
                raise DomainError(f"Vector {row} is zero and has no direction, which cosine needs.", row=row)
        if self.metric != "cosine":
            return np.ascontiguousarray(vectors, np.float32)
        wide /= np.sqrt(sums)[:, np.newaxis]
        return wide.astype(np.float32)

    def distances(self, query: Vectors, vectors: Vectors) -> Floats:
        """Return (N,) the distances of prepared rows: by differences, so that equal rows are 0 apart."""
        if self.metric == "inner_product":
            products: Floats = np.vecdot(vectors.astype(np.float64), query.astype(np.float64))
            return -products
        apart = vectors - query.astype(np.float64)
        return self.from_squares(np.vecdot(apart, apart))

    def paired(self, queries: Vectors, rows: Vectors) -> Floats:
        """Return (Q, F) the distances of (Q, D) queries to (Q, F, D) rows, F for each of them."""
        if self.metric == "inner_product":
            products: Floats = np.vecdot(rows.astype(np.float64), queries[:, np.newaxis].astype(np.float64))
            return -products
        apart = rows - queries[:, np.newaxis].astype(np.float64)  # faster than by a dtype for the result
        return self.from_squares(np.vecdot(apart, apart))

    def scan(self, query: Vectors, vectors: Vectors, positions: Integers) -> Floats:
        """Return (P,) the distances of the rows at some positions."""
        block = max(1, BLOCK_NUMBERS // len(query))
        starts = range(0, len(positions), block)
        blocks = (taken(vectors, positions[start : start + block]) for start in starts)
        return np.concatenate([self.distances(query, some) for some in blocks])

    def floors(self, queries: Vectors, worst: Vectors, longest: float) -> Floats:
        """Return (Q,) a floor under the distance of every row that FAISS left out.

        Args:
            queries: (Q, D) prepared.
            worst: (Q,) the worst of FAISS's scores that were fetched.
            longest: the largest norm of a row.
        """
        sums, scores = squares(queries), worst.astype(np.float64)
        if self.metric == "inner_product":
            return product_floors(sums, scores, longest, queries.shape[1])
        return self.from_squares(square_floors(sums, scores, queries.shape[1]))

    def from_squares(self, squared: Floats) -> Floats:
        """Return the distances of squared Euclidean ones; of unit vectors, 1 - cos is half the square."""
        return squared / 2 if self.metric == "cosine" else np.sqrt(squared)


def squares(vectors: npt.NDArray[np.floating]) -> Floats:
    """Return (N,) each row's sum of squares in float64."""
    wide = vectors.astype(np.float64, copy=False)
    sums: Floats = np.vecdot(wide, wide)
    return sums
