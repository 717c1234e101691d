"""Euclidean distances, their squares and the cosine's, by matrix products that keep their digits.

|x|^2 + |y|^2 - 2 x.y is as fast as a matrix product, but loses what |x - y| is smaller than |x|: of two
equal rows it leaves rounding noise, up to 1e-3 in float32. So all rows are moved by a median row first
(distances stay, and numbers on a grid stay on it), and pairs that are still near each other,
d^2 <= (|x|^2 + |y|^2) / 16, are formed once more from their differences.
"""

import math
from collections.abc import Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from models.comparisons import Gradients, Pairs, gathers
from models.formulas import Metric, power_of_two

__all__ = ["Euclidean"]

# At the bound the relative error of d^2 is at most 1e-5 in float32 (measured, D from 2 to 8,192).
_NEAR = 1 / 16
_REACH = 1 / 5  # d^2 <= (|x|^2 + |y|^2) / 16 lets |y| be 1.44 |x| at most, and so d^2 <= |x|^2 / 5
_FLOOR = 2.0**-80  # squares of placed rows below this lose digits to underflow
_SAFE = (2.0**-30, 2.0**40)  # magnitudes whose squares need no scaling
_SMALL = 2**18  # differences in all, up to which forming them is as fast
_DENSE = 1 / 8  # share of near pairs from which on forming every difference is faster
_CENTRE_ROWS = 9
_BLOCK = 64


class _Most(Enum):
    """So many pairs that each is formed from its difference."""

    MOST = "most"


_MOST = _Most.MOST


class _Placed(NamedTuple):
    """Rows moved to where their products lose little: near the origin, at a moderate scale.

    Attributes:
        left: (N, D), the rows of x moved and divided by `scale`; `right`, (M, D), those of y.
        left_squares: (N,), their squared lengths; `right_squares`, (M,).
        reach: (N,), beyond which squared difference none of a row's neighbours is near.
        reach_gaps: (N,), the same bound for distances over `scale`.
    """

    left: Tensor
    right: Tensor
    left_squares: Tensor
    right_squares: Tensor
    reach: Tensor
    reach_gaps: Tensor
    scale: float


class Euclidean:
    """`euclidean`, `squared_euclidean` and, on unit rows, `cosine`."""

    def __init__(self, x: Tensor, y: Tensor, metric: Metric) -> None:
        self._x, self._y = x, y
        self._name = "euclidean" if metric.name == "minkowski" else metric.name
        self._factor = 2.0 if metric.name == "squared_euclidean" else 1.0  # of d's slope, times x - y
        self._same = x.data_ptr() == y.data_ptr() and x.shape == y.shape
        self._small = len(x) * len(y) * x.shape[1] <= _SMALL

    def strip(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Return the (R, M) distances of these rows of x to all of y, in `out` if given."""
        if self._small:
            distances = self._measure(self._x[rows].unsqueeze(1) - self._y)
            return distances if out is None else out.copy_(distances)
        placed = self._placed
        left = placed.left[rows]
        out = left.new_empty(len(left), len(placed.right)) if out is None else out
        # The squares are added first, so that a pair comes out alike in both orders.
        torch.add(placed.left_squares[rows].unsqueeze(1), placed.right_squares, out=out)
        out.addmm_(left, placed.right.t(), alpha=-2)
        if self._same:
            out.diagonal(rows.start).fill_(torch.inf)
        reached = _at_most(out, placed.reach[rows])
        if reached is _MOST:
            return out.copy_(self._form(self._x[rows], self._y))
        near = self._near(out, rows, reached)
        self._finish(out, placed.scale)
        if self._same:
            out.diagonal(rows.start).zero_()
        if near is not None:
            out[near] = self.at(near[0] + rows.start, near[1])
        return out

    def pull(self, rows: slice, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of a strip: two matrix products, and the near pairs from their differences."""
        if self._small:
            pull = self._pulls(self._x[rows].unsqueeze(1) - self._y, distances, slopes)
            into.x[rows] += pull.sum(1)
            into.y.sub_(pull.sum(0))
            return
        placed = self._placed
        gaps = distances / placed.scale
        if self._same:
            gaps.diagonal(rows.start).fill_(torch.inf)
        near = _at_most(gaps, placed.reach_gaps[rows])
        if near is _MOST:
            self._pull_all(rows, slopes, into)
            return
        weights = slopes / gaps if self._name == "euclidean" else slopes * (placed.scale * self._factor)
        if near is not None:
            self._pull_near(rows, near, distances, slopes, into)
            weights[near] = 0.0
        if self._same:
            weights.diagonal(rows.start).zero_()
        left = placed.left[rows]
        into.x[rows].addcmul_(left, weights.sum(1, keepdim=True)).addmm_(weights, placed.right, alpha=-1)
        into.y.addcmul_(placed.right, weights.sum(0).unsqueeze(1)).addmm_(weights.t(), left, alpha=-1)

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Return the (T,) distances of x[i] and y[j], from their differences."""
        out = self._x.new_empty(len(i))
        for part in gathers(len(i), self._x.shape[1]):
            out[part] = self._measure(self._x[i[part]] - self._y[j[part]])
        return out

    def pull_at(self, pairs: Pairs, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of pairs, from their differences."""
        for part in gathers(len(distances), self._x.shape[1]):
            i, j = pairs[0][part], pairs[1][part]
            pull = self._pulls(self._x[i] - self._y[j], distances[part], slopes[part])
            into.x.index_add_(0, i, pull)
            into.y.index_add_(0, j, pull, alpha=-1)

    @cached_property
    def _placed(self) -> _Placed:
        given = (self._x,) if self._same else (self._x, self._y)
        sample = [rows[:: -(-len(rows) // _CENTRE_ROWS)] for rows in given]
        centre = torch.cat(sample).median(0).values  # in each column a number of the data, not a mean
        placed = [rows - centre for rows in given]
        scale = _scale_of(given, placed)
        if scale != 1.0:
            placed = [rows / scale - centre / scale for rows in given]
        squares = [rows.square().sum(1) for rows in placed]
        reach = squares[0] * _REACH + _FLOOR
        reach_gaps = self._finish(reach.clone(), scale) / scale
        return _Placed(placed[0], placed[-1], squares[0], squares[-1], reach, reach_gaps, scale)

    def _pull_near(
        self, rows: slice, near: Pairs, distances: Tensor, slopes: Tensor, into: Gradients
    ) -> None:
        pulling = slopes[near] != 0
        local, columns = near[0][pulling], near[1][pulling]
        pairs = local + rows.start, columns
        self.pull_at(pairs, distances[local, columns], slopes[local, columns], into)

    def _near(self, squares: Tensor, rows: slice, reached: Pairs | None) -> Pairs | None:
        """Return which of the reached pairs of a strip of squared differences (R, M) are near."""
        if reached is None:
            return None
        local, columns = reached
        lengths = self._placed.left_squares[rows][local] + self._placed.right_squares[columns]
        near = squares[local, columns] <= lengths * _NEAR + _FLOOR
        return local[near], columns[near]

    def _finish(self, squares: Tensor, scale: Tensor | float) -> Tensor:
        """Turn squared differences into distances, in place; the rows were divided by the scale."""
        if self._name == "euclidean":
            squares.sqrt_()
        else:
            squares.mul_(scale)  # twice, as the scale's square may overflow where the distance does not
        if not (isinstance(scale, float) and scale == 1.0):
            squares.mul_(scale)
        return squares.div_(2).clamp_(max=2) if self._name == "cosine" else squares

    def _form(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distances of rows of x and y from their differences, all of them; differentiable."""
        scale = power_of_two(self._x, self._y, headroom=50)
        gaps = torch.cdist(x / scale, y / scale, compute_mode="donot_use_mm_for_euclid_dist")
        if self._name == "euclidean":
            return gaps * scale
        squares = gaps.square() * scale * scale
        return (squares / 2).clamp(max=2) if self._name == "cosine" else squares

    def _pull_all(self, rows: slice, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of a strip from its differences, all of them."""
        with torch.enable_grad(), torch.autocast(slopes.device.type, enabled=False):
            x, y = (values.detach().requires_grad_() for values in (self._x[rows], self._y))
            parts = torch.autograd.grad(self._form(x, y), (x, y), slopes)
        into.x[rows] += parts[0]
        into.y.add_(parts[1])

    def _measure(self, gaps: Tensor) -> Tensor:
        """Return the distances of the differences (..., D), whatever their scale."""
        largest = gaps.abs().amax(-1)
        extreme = ((largest > 0) & (largest < _SAFE[0])) | (largest > _SAFE[1])
        if not extreme.any():
            return self._finish(gaps.square_().sum(-1), 1.0)
        scale = power_of_two(gaps.unsqueeze(-2), headroom=0).squeeze(-1)
        return self._finish((gaps / scale).square_().sum(-1), scale.squeeze(-1))

    def _pulls(self, gaps: Tensor, distances: Tensor, slopes: Tensor) -> Tensor:
        """Return the gradient for x of slopes * distances, of the differences (..., D)."""
        if self._name == "euclidean":
            distances = distances.masked_fill(distances == 0, torch.inf)
            return gaps.div_(distances.unsqueeze(-1)).mul_(slopes.unsqueeze(-1))
        return gaps.mul_((slopes * self._factor).unsqueeze(-1))


def _scale_of(given: Sequence[Tensor], placed: Sequence[Tensor]) -> float:
    """Return the power of two to divide the placed rows by; 1 where their squares need none."""
    largest = max(float(torch.maximum(rows.amax(), -rows.amin())) for rows in placed)
    if largest == 0 or _SAFE[0] <= largest <= _SAFE[1]:
        return 1.0
    # Where placing itself overflowed, the given rows tell.
    return max(float(power_of_two(rows, headroom=10)) for rows in (given if math.isinf(largest) else placed))


def _at_most(values: Tensor, bounds: Tensor) -> Pairs | _Most | None:
    """Return where values (R, M) are at most their row's bound: rows and columns, `_MOST`, or None.

    Few are, so rows are ruled out by their least value first, then blocks of their columns.
    """
    rows = (values.amin(1) <= bounds).nonzero().squeeze(1)
    if not rows.numel():
        return None
    every = values.numel()
    if 2 * len(rows) < len(values):
        values, bounds = values[rows], bounds[rows]
    else:
        rows = torch.arange(len(values), device=values.device)
    count = values.shape[1] // _BLOCK
    rest = count * _BLOCK
    blocks = values[:, :rest].view(len(values), count, _BLOCK)
    within_reach = blocks.amin(2) <= bounds.unsqueeze(1)
    # Counted before they are listed: a list takes 16 bytes for each.
    if (
        within_reach.sum() * _BLOCK > _DENSE * every
        and (values <= bounds.unsqueeze(1)).sum() > _DENSE * every
    ):
        return _MOST
    row, block = within_reach.nonzero().unbind(1)
    within, column = (blocks[row, block] <= bounds[row].unsqueeze(1)).nonzero().unbind(1)
    last_row, last_column = (values[:, rest:] <= bounds.unsqueeze(1)).nonzero().unbind(1)
    return (
        rows[torch.cat([row[within], last_row])],
        torch.cat([block[within] * _BLOCK + column, last_column + rest]),
    )
