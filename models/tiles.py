"""Distances of prepared rows, differentiable: formed strip by strip, and checked where the rows are known."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.comparisons import Comparison, Direct, Gradients, Pairs, strips
from models.errors import DomainError, OverflowedError
from models.euclid import Euclidean
from models.formulas import DISTRIBUTIONS, Metric

__all__ = ["Strips", "distances_at", "distances_between", "fitting", "streamed_sum"]

_SUM_ELEMENTS = 2**20
_BY_SQUARES = {Metric("euclidean"), Metric("squared_euclidean"), Metric("cosine"), Metric("minkowski", 2.0)}


def distances_between(x: Tensor, y: Tensor, metric: Metric) -> Tensor:
    """Return the (N, M) distances of prepared rows; differentiable once.

    Raises:
        DomainError: q = 0 where p > 0, under a metric of distributions.
        OverflowedError: an answer beyond its dtype.
    """
    answer: Tensor = _Between.apply(x, y, metric)  # type: ignore[no-untyped-call]  # torch has not typed it
    return answer


def distances_at(
    x: Tensor, y: Tensor, pairs: Pairs, metric: Metric, *, known: Tensor | None = None
) -> Tensor:
    """Return the (T,) distances of x[pairs[0]] and y[pairs[1]], prepared rows; differentiable once.

    Args:
        x: (N, D).
        y: (M, D).
        pairs: (T,) int64 each.
        metric: a row metric.
        known: these distances, where they are known already; only their gradient is formed then.

    Raises:
        DomainError: q = 0 where p > 0, under a metric of distributions.
        OverflowedError: an answer beyond its dtype.
    """
    answer: Tensor = _At.apply(x, y, pairs, metric, known)  # type: ignore[no-untyped-call]  # torch has not typed it
    return answer


def streamed_sum(values: Tensor) -> Tensor:
    """Return the float64 sum of the values; a float64 copy of them all is never made."""
    parts = torch.split(values.flatten(), _SUM_ELEMENTS)
    return torch.stack([part.sum(dtype=torch.float64) for part in parts]).sum()


def fitting(answer: Tensor, name: str) -> Tensor:
    """Return the answer, or raise OverflowedError where it is not finite."""
    if not torch.isfinite(answer).all():
        raise OverflowedError(f"{name} is beyond the largest number of {answer.dtype}; scale the input down.")
    return answer


class Strips:
    """The distances of prepared rows x (N, D) to prepared rows y (M, D), some rows of x at a time.

    Nothing here is recorded by autograd: `pull` gives the gradients.

    Attributes:
        largest: the largest distance of all strips formed so far.
    """

    def __init__(self, x: Tensor, y: Tensor, metric: Metric) -> None:
        self.x, self.y = x.detach(), y.detach()
        self.metric = metric
        form = Euclidean if metric in _BY_SQUARES else Direct
        self._comparison: Comparison = form(self.x, self.y, metric)
        self.largest = 0.0

    def __iter__(self) -> Iterator[slice]:
        return strips(self.x, len(self.y))

    def distances(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Return the (R, M) distances of these rows of x to all of y, in `out` if given.

        Raises:
            DomainError: q = 0 where p > 0, under a metric of distributions.
            OverflowedError: an answer beyond its dtype.
        """
        strip = self._comparison.strip(rows, out)
        largest = float(strip.amax()) if strip.numel() else 0.0
        if not math.isfinite(largest):  # NaN is the largest of all
            i, j = (~torch.isfinite(strip)).nonzero()[0].tolist()
            raise self._no_answer(rows.start + i, j)
        self.largest = max(self.largest, largest)
        return strip

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Return the (T,) distances of x[i] and y[j].

        Raises:
            InputError: as `distances`.
        """
        answer = self._comparison.at(i, j)
        if answer.numel() and not math.isfinite(answer.amax()):
            first = int((~torch.isfinite(answer)).nonzero()[0])
            raise self._no_answer(int(i[first]), int(j[first]))
        return answer

    def pull(self, rows: slice, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of sum(slopes * distances), (R, M) each, of a strip as it was formed."""
        self._comparison.pull(rows, distances, slopes, into)

    def pull_at(self, pairs: Pairs, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of sum(slopes * distances), (T,) each, of pairs."""
        self._comparison.pull_at(pairs, distances, slopes, into)

    def _no_answer(self, i: int, j: int) -> DomainError | OverflowedError:
        name = self.metric.name
        if name in DISTRIBUTIONS and bool(((self.y[j] == 0) & (self.x[i] > 0)).any()):
            message = (
                f"{name} of row {i} (P) and row {j} (Q) is infinite: Q is 0 where P is not; "
                "smooth Q, or leave the pair out."
            )
            return DomainError(message, row=i)
        message = (
            f"The {name} of row {i} and row {j} is beyond the largest {self.x.dtype}; scale the input down."
        )
        return OverflowedError(message, row=i)


class _Between(torch.autograd.Function):
    """x (N, D), y (M, D) -> (N, M)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, metric: Metric) -> Tensor:
        strips = ctx.strips = Strips(x, y, metric)
        answer = x.new_empty(len(x), len(y))
        for rows in strips:
            strips.distances(rows, answer[rows])
        ctx.save_for_backward(answer, x, y)  # the rows too: their modification is noticed
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        answer, _, _ = ctx.saved_tensors
        strips = ctx.strips
        into = Gradients(torch.zeros_like(strips.x), torch.zeros_like(strips.y))
        for rows in strips:
            strips.pull(rows, answer[rows], gradients[0][rows], into)
        return *into, None


class _At(torch.autograd.Function):
    """x (N, D), y (M, D) and pairs of their rows -> (T,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, pairs: Pairs, metric: Metric, known: Tensor | None) -> Tensor:
        strips = ctx.strips = Strips(x, y, metric)
        answer = strips.at(*pairs) if known is None else known.clone()
        ctx.save_for_backward(answer, *pairs, x, y)
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        answer, i, j, _, _ = ctx.saved_tensors
        strips = ctx.strips
        into = Gradients(torch.zeros_like(strips.x), torch.zeros_like(strips.y))
        strips.pull_at((i, j), answer, gradients[0], into)
        return *into, None, None, None
