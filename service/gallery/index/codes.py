"""Rows in 8 bits a number, of which it is known how far off they may be: a scan reads a quarter."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.gallery.collection import Vectors
from service.gallery.index.buffers import Integers
from service.gallery.index.measuring import squares
from service.gallery.index.rounding import ROUNDED

__all__ = ["MOST", "ZERO", "Bytes", "Codes", "Order"]

ZERO = 128  # stands for 0
MOST = 127
_STRIDE = 16  # numbers that the widest instructions take at once; FAISS takes other widths one by one
_LINE = 64  # bytes
_BLOCK_NUMBERS = 2**18
_USES = 16  # after so many searches every other one must have been told by the codes

Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """In which order codes lie.

    Attributes:
        name: of what they are put in order by.
        positions: (N,) of the rows, in this order.
        places: (N,) int32, where the code of each row lies.
    """

    name: str
    positions: Integers
    places: npt.NDArray[np.int32]

    @classmethod
    def by(cls, name: str, positions: Integers) -> "Order":
        """Return the order in which (N,) positions stand, each of them once."""
        places = np.empty(len(positions), np.int32)
        places[positions] = np.arange(len(positions), dtype=np.int32)
        return cls(name, positions, places)


@dataclass(slots=True, eq=False)
class Codes:
    """Rows times a scale, rounded to whole numbers. Immutable, but for how often they told.

    Attributes:
        values: (N, W) uint8, the whole numbers and 128; W is D and zeros up to a multiple of 16.
        scale: the rows were multiplied with.
        error: the largest Euclidean distance of a row to what stands for it, in the rows' units.
        longest: the largest norm of what stands for a row, in codes' units.
        order: in which they lie, where that is not the rows'.
        uses: how many searches were made among them.
        misses: of how many of these they could not tell the nearest.
    """

    values: Bytes
    scale: float
    error: float
    longest: float
    order: Order | None = None
    uses: int = 0
    misses: int = 0

    @classmethod
    def of(cls, vectors: Vectors) -> "Codes | None":
        """Return the codes of (N, D) finite rows; None where no scale does, as they are all but zero."""
        count, dimension = vectors.shape
        step = max(1, _BLOCK_NUMBERS // dimension)
        blocks = [(at, vectors[at : at + step]) for at in range(0, count, step)]
        top = max((max(float(some.max()), -float(some.min())) for _, some in blocks), default=0.0)
        with np.errstate(over="ignore", divide="ignore"):
            scale = np.float32(MOST) / np.float32(top)
        if scale == math.inf:
            return None
        values = _in_lines(count, _width(dimension))
        values[:, dimension:] = ZERO
        off = longest = 0.0
        for at, some in blocks:
            scaled = some * scale
            whole = np.rint(scaled)
            off = max(off, float(squares(scaled - whole).max()))
            longest = max(longest, float(squares(whole).max()))
            values[at : at + step, :dimension] = whole + np.float32(ZERO)
        rounded = math.sqrt(dimension) * MOST * ROUNDED
        return cls(values, float(scale), (math.sqrt(off) + rounded) / float(scale), math.sqrt(longest))

    @staticmethod
    def bytes_of(vectors: Vectors) -> int:
        """Return how many bytes the codes of (N, D) rows take, in an order of their own."""
        return len(vectors) * (_width(vectors.shape[1]) + 8 + 4)

    def laid(self, order: Order) -> "Codes":
        """Return the same codes in another order."""
        now = order.positions if self.order is None else self.order.places[order.positions]
        values = _in_lines(*self.values.shape)
        self.values.take(now, axis=0, out=values, mode="clip")
        return Codes(values, self.scale, self.error, self.longest, order, self.uses, self.misses)

    @property
    def nbytes(self) -> int:
        """Return how many bytes they take."""
        order = self.order
        return self.values.nbytes + (0 if order is None else order.positions.nbytes + order.places.nbytes)

    @property
    def telling(self) -> bool:
        """Return whether they tell the nearest as a rule: not of rows that lie much closer than `error`."""
        return self.uses < _USES or self.misses * 2 <= self.uses


def _width(dimension: int) -> int:
    return -(-dimension // _STRIDE) * _STRIDE


def _in_lines(count: int, width: int) -> Bytes:
    """Return room for (N, W) bytes that begin with a line of the cache: or a row lies in one more."""
    room = np.empty(count * width + _LINE, np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + count * width].reshape(count, width)
