"""Distances on prepared rows, tile by tile: one tile is held at a time, in the backward pass too.

Each backward pass forms a tile's distances anew and takes their gradient, so that nothing of size N x M x D,
and no second N x M, outlives its tile. The answers are checked here, where the rows at fault are known.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.errors import DomainError, OverflowedError
from models.formulas import DISTRIBUTIONS, Formula, Metric, formula, tile_elements

__all__ = ["distances_at", "distances_between", "fitting", "streamed_sum"]

_SUM_ELEMENTS = 2**20


def distances_between(x: Tensor, y: Tensor, metric: Metric) -> Tensor:
    """Return the (N, M) distances of prepared rows; differentiable once.

    Raises:
        DomainError: q = 0 where p > 0, under a metric of distributions.
        OverflowedError: an answer beyond its dtype.
    """
    answer: Tensor = _Between.apply(x, y, metric)  # type: ignore[no-untyped-call]  # of torch
    return answer


def distances_at(x: Tensor, y: Tensor, pairs: tuple[Tensor, Tensor], metric: Metric) -> Tensor:
    """Return the (T,) distances of x[pairs[0]] and y[pairs[1]], prepared rows; differentiable once.

    Raises:
        DomainError: q = 0 where p > 0, under a metric of distributions.
        OverflowedError: an answer beyond its dtype.
    """
    answer: Tensor = _At.apply(x, y, *pairs, metric)  # type: ignore[no-untyped-call]  # of torch
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


class _Between(torch.autograd.Function):
    """x (N, D), y (M, D) -> (N, M)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, metric: Metric) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.metric = metric
        compare = formula(metric)
        answer = x.new_empty(len(x), len(y))
        for rows, columns in _tiles(x, y, metric):
            tile = compare(x[rows], y[columns])
            finite = torch.isfinite(tile)
            if not finite.all():
                i, j = (~finite).nonzero()[0].tolist()
                raise _no_answer(x, y, (rows.start + i, columns.start + j), metric)
            answer[rows, columns] = tile
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y = ctx.saved_tensors
        compare = formula(ctx.metric)
        x_gradient, y_gradient = torch.zeros_like(x), torch.zeros_like(y)
        for rows, columns in _tiles(x, y, ctx.metric):
            parts = _gradients(compare, x[rows], y[columns], gradients[0][rows, columns])
            x_gradient[rows] += parts[0]
            y_gradient[columns] += parts[1]
        return x_gradient, y_gradient, None


class _At(torch.autograd.Function):
    """x (N, D), y (M, D), i (T,), j (T,) -> (T,): each pair is an N = M = 1 of the formula."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, i: Tensor, j: Tensor, metric: Metric) -> Tensor:
        ctx.save_for_backward(x, y, i, j)
        ctx.metric = metric
        compare = formula(metric)
        answer = x.new_empty(len(i))
        for part in _parts(x, len(i), metric):
            answer[part] = compare(x[i[part]].unsqueeze(1), y[j[part]].unsqueeze(1)).flatten()
        finite = torch.isfinite(answer)
        if not finite.all():
            first = int((~finite).nonzero()[0])
            raise _no_answer(x, y, (int(i[first]), int(j[first])), metric)
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, y, i, j = ctx.saved_tensors
        compare = formula(ctx.metric)
        x_gradient, y_gradient = torch.zeros_like(x), torch.zeros_like(y)
        for part in _parts(x, len(i), ctx.metric):
            left, right = x[i[part]].unsqueeze(1), y[j[part]].unsqueeze(1)
            parts = _gradients(compare, left, right, gradients[0][part].reshape(-1, 1, 1))
            x_gradient.index_add_(0, i[part], parts[0].squeeze(1))
            y_gradient.index_add_(0, j[part], parts[1].squeeze(1))
        return x_gradient, y_gradient, None, None, None


def _gradients(compare: Formula, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        return torch.autograd.grad(compare(x, y), (x, y), weights)


def _tiles(x: Tensor, y: Tensor, metric: Metric) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of tiles that hold at most `tile_elements` differences."""
    elements = tile_elements(metric) // x.shape[1]
    width = min(max(1, elements), max(1, len(y)))
    height = max(1, elements // width)
    for top in range(0, len(x), height):
        for left in range(0, len(y), width):
            yield slice(top, top + height), slice(left, left + width)


def _parts(x: Tensor, count: int, metric: Metric) -> Iterator[slice]:
    # The gathered rows themselves are held, so a direct metric's larger tile does not apply.
    length = max(1, min(tile_elements(metric), _SUM_ELEMENTS) // x.shape[1])
    for start in range(0, count, length):
        yield slice(start, start + length)


def _no_answer(x: Tensor, y: Tensor, pair: tuple[int, int], metric: Metric) -> DomainError | OverflowedError:
    i, j = pair
    if metric.name in DISTRIBUTIONS and bool(((y[j] == 0) & (x[i] > 0)).any()):
        message = (
            f"{metric.name} of row {i} (P) and row {j} (Q) is infinite: Q is 0 where P is not; "
            "smooth Q, or leave the pair out."
        )
        return DomainError(message, row=i)
    message = (
        f"The {metric.name} of row {i} and row {j} is beyond the largest {x.dtype}; scale the input down."
    )
    return OverflowedError(message, row=i)
