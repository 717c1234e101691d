"""Rows in memory that grow without being copied each time."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.gallery.collection import Vectors

__all__ = ["Integers", "Rows", "taken", "with_room"]

Integers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Row buffers, longer than what is in use: an index reads the first `size` and never changes those."""

    vectors: Vectors
    labels: Integers


def with_room(rows: Rows, size: int, wanted: int) -> Rows:
    """Return buffers with the first `size` rows and room for `wanted`: these, or copies twice as long."""
    if wanted <= len(rows.labels):
        return rows
    room = max(wanted, 2 * size)
    vectors = np.empty((room, rows.vectors.shape[1]), np.float32)
    labels = np.empty(room, np.int64)
    vectors[:size], labels[:size] = rows.vectors[:size], rows.labels[:size]
    return Rows(vectors, labels)


def taken(vectors: Vectors, positions: Integers) -> Vectors:
    """Return (..., D) copies of the rows at (...) positions of (N, D) contiguous float32 ones.

    By bytes: rows that lie in a file are not aligned, and NumPy copies such numbers one by one.

    Raises:
        IndexError: there is no row at one of them; negative ones count from the end.
    """
    copied: Vectors = vectors.view(np.uint8).take(positions, axis=0).view(np.float32)
    return copied
