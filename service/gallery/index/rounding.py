"""How far off FAISS's float32 scores may be: floors under the distances of what it left out.

A float32 sum of n products, in any order, is off by at most g = n u / (1 - n u) times the sum of their
magnitudes (u = 2^-24), plus what underflows. n = D + 8 covers the last additions and the float64 rounding of
the exact distances.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., equation 3.5.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["ROUNDED", "Floats", "product_floors", "square_floors", "sum_error"]

ROUNDED = 2.0**-23  # more than a product of two numbers in float32 is off by, relatively

_MORE_TERMS = 8
_SAFE_SQUARE = 1e37  # below it no float32 sum overflows, save of rows that are farther than it

Floats: TypeAlias = npt.NDArray[np.float64]


def product_floors(squares: Floats, worst: Floats, longest: float, dimension: int) -> Floats:
    """Return a bound below -<q, y> of every row y whose score is no better than the worst fetched.

    It is off by at most g ||q|| ||y||.

    Args:
        squares: (Q,) squared norms of the queries.
        worst: (Q,) the worst inner products that were fetched.
        longest: the largest norm of a row.
        dimension: D.
    """
    g, underflow = sum_error(dimension), _underflow(dimension)
    reach = np.sqrt(squares) * longest
    return np.where(reach < _SAFE_SQUARE, -(worst + g * reach + underflow), -math.inf)


def square_floors(squares: Floats, worst: Floats, dimension: int) -> Floats:
    """Return a bound below the squared distance of each row whose score is no better than the worst fetched.

    It is off by at most g (||q|| + ||y||)^2 <= g (2 ||q|| + d)^2 <= g (8 ||q||^2 + 2 d^2), because ||y|| is
    at most ||q|| + d: so it depends on the query and the distance d, not on the longest row.

    Args:
        squares: (Q,) squared norms of the queries.
        worst: (Q,) the worst squared distances that were fetched.
        dimension: D.
    """
    g, underflow = sum_error(dimension), _underflow(dimension)
    floors = (worst - 8 * g * squares - underflow) / (1 + 2 * g)
    floors = np.where(squares < _SAFE_SQUARE, np.minimum(floors, _SAFE_SQUARE), 0.0)
    return np.maximum(floors, 0.0)


def sum_error(dimension: int) -> float:
    """Return g, for a sum over D numbers."""
    terms = dimension + _MORE_TERMS
    return terms * 2.0**-24 / (1 - terms * 2.0**-24)


def _underflow(dimension: int) -> float:
    return 4 * (dimension + _MORE_TERMS) * 2.0**-126
