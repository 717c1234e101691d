"""How much memory distances and triplet losses take at their peak, estimated before they start.

Each estimate counts what is held beyond the inputs as they were given: float copies of the rows (N x D), the
answer, one strip of distances with its temporaries, which is bounded whatever the size, and the triplets that
a miner forms. It is never too low by more than `SLACK_BYTES`, and at most four times too high where the
answer or the triplets are what is large. Rows and strips are counted at their worst, copies of all rows and
all pairs near each other: small work takes less. `tests/models/test_estimates.py` compares with true peaks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from models.comparisons import STRIP_ELEMENTS

__all__ = [
    "SLACK_BYTES",
    "Rows",
    "batch_loss_bytes",
    "explicit_loss_bytes",
    "matrix_bytes",
    "most_that_fit",
    "paired_bytes",
    "pairwise_bytes",
    "positive_pairs",
]

SLACK_BYTES = 2**21  # what no estimate looks at: single rows, columns, flags

_GATHERED_ELEMENTS = 2**20  # numbers of gathered rows, or of a tile's differences, that are held at once
# A strip with its temporaries: up to 12 were measured, where all pairs are near and most of them are int64
# indices, or where a miner sorts negatives.
_STRIP_COPIES = 14
_GATHER_COPIES = 6  # two gathered sets of rows, their differences, and what is made of them
_ROW_COPIES = 4  # prepared, scaled, placed near the origin, flags of what is finite
_GRADIENT_COPIES = 3  # the gradient, that of the prepared rows, and a term that is added to it
_TRIPLET_BYTES = 80  # a formed triplet: three int64 indices and some numbers, once in parts and once joined
_LISTED_BYTES = 400  # a triplet of the list, as Python objects


@dataclass(frozen=True, slots=True)
class Rows:
    """The shape of an input.

    Attributes:
        count: N.
        dimension: D.
        dtype: as it was given; it computes in float32 unless it is float64.
    """

    count: int
    dimension: int
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "Rows":
        """Return the shape of an (N, D) tensor."""
        count, dimension = tensor.shape
        return cls(count, dimension, tensor.dtype)

    def times(self, count: int) -> "Rows":
        """Return the shape with another number of rows."""
        return Rows(count, self.dimension, self.dtype)

    @property
    def number_bytes(self) -> int:
        """Return the bytes of a number that these rows compute in."""
        return 8 if self.dtype == torch.float64 else 4


def pairwise_bytes(x: Rows, y: Rows | None = None) -> int:
    """Return the bytes of all distances between x and y (without y: of x), the answer (N, M) among them."""
    other = x if y is None else y
    given = (x,) if y is None else (x, y)
    number = max(rows.number_bytes for rows in given)
    pairs = x.count * other.count
    working = _ROW_COPIES * _elements(given) + _strips(pairs, other) + pairs
    return number * working


def paired_bytes(x: Rows, y: Rows) -> int:
    """Return the bytes of the distances between x[i] and y[i], the answer (N,) among them."""
    number = max(x.number_bytes, y.number_bytes)
    return number * (_ROW_COPIES * _elements((x, y)) + _gathered(x.count, x.dimension)) + 24 * x.count


def matrix_bytes(x: Rows, y: Rows) -> int:
    """Return the bytes of the norm of x - y; the nuclear one takes a square of the smaller side besides."""
    smaller = min(x.count, x.dimension)
    return max(x.number_bytes, y.number_bytes) * (_ROW_COPIES * _elements((x, y)) + 4 * smaller * smaller)


def explicit_loss_bytes(rows: Rows, *, swap: bool = False, gradients: bool = False) -> int:
    """Return the bytes of the loss of N given triplets; rows are those of the anchors."""
    compared = 3 if swap else 2
    copies = 3 * (_ROW_COPIES + (_GRADIENT_COPIES if gradients else 0)) + 2 * compared
    numbers = copies * rows.count * rows.dimension + _gathered(rows.count, rows.dimension)
    return rows.number_bytes * numbers + 2 * _TRIPLET_BYTES * rows.count


def batch_loss_bytes(
    rows: Rows, *, mining: str = "all", pairs: int = 0, gradients: bool = False, listed: int = 0
) -> int:
    """Return the bytes of the loss of a labelled batch.

    Args:
        rows: the embeddings.
        mining: all, hard or semi_hard.
        pairs: of semi_hard, how many positive pairs the labels form; see `positive_pairs`.
        gradients: whether the gradient is wanted.
        listed: how many triplets are to be returned; -1 is all that are formed.
    """
    count = rows.count
    formed = {"all": 0, "hard": count, "semi_hard": pairs}[mining]
    returned = listed if mining == "all" else formed if listed < 0 else min(listed, formed)
    copies = _ROW_COPIES + (_GRADIENT_COPIES if gradients else 0)
    numbers = copies * count * rows.dimension + _strips(count * count, rows)
    return rows.number_bytes * numbers + _TRIPLET_BYTES * (formed + returned) + _LISTED_BYTES * returned


def positive_pairs(sizes: Iterable[int], count: int) -> int:
    """Return how many positive pairs N rows form whose labels occur as often as `sizes` says.

    Example:
        >>> positive_pairs([3, 2, 1], 6)
        8
    """
    return sum(size * (size - 1) for size in sizes if size < count)


def most_that_fit(estimate: Callable[[int], int], limit: int, most: int) -> int:
    """Return the largest count, up to `most`, whose estimate is within the limit; 0 where none is.

    Args:
        estimate: bytes of a count; never less for a larger one.
        limit: bytes.
        most: >= 0.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if estimate(middle) <= limit else (low, middle - 1)
    return low


def _elements(given: Iterable[Rows]) -> int:
    return sum(rows.count * rows.dimension for rows in given)


def _strips(pairs: int, y: Rows) -> int:
    """Return the numbers of one strip, which is at least a row of distances, and its temporaries."""
    strip = min(max(STRIP_ELEMENTS, y.count), pairs)
    return _STRIP_COPIES * strip + _gathered(pairs, y.dimension)


def _gathered(pairs: int, dimension: int) -> int:
    return _GATHER_COPIES * min(max(_GATHERED_ELEMENTS, dimension), pairs * dimension)
