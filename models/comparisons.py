"""How rows are compared: strips of distances, their gradients, and single pairs.

A strip is some rows of x beside all rows of y. Nothing here is recorded by autograd: whoever forms distances
keeps them and hands them back with dL/dd (`slopes`), to be pulled down to the rows.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from models.formulas import Metric, formula, tile_elements
from models.interruption import checkpoint

__all__ = ["STRIP_ELEMENTS", "Comparison", "Direct", "Gradients", "Pairs", "gathers", "strips"]

Pairs = tuple[Tensor, Tensor]  # (T,) int64 each: rows of x, rows of y

STRIP_ELEMENTS = 2**21  # large enough for matrix products, small enough for a processor's cache
_GPU_STRIP_ELEMENTS = 2**24  # here what counts is the number of launches
_GATHERED_ELEMENTS = 2**20


class Gradients(NamedTuple):
    """Where gradients are added up: those of x (N, D) and of y (M, D), which may be one tensor."""

    x: Tensor
    y: Tensor


class Comparison(Protocol):
    """Prepared rows x (N, D) and y (M, D) under one metric."""

    def strip(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Return the (R, M) distances of these rows of x to all of y, in `out` if given."""

    def pull(self, rows: slice, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of sum(slopes * distances), (R, M) each, of a strip."""

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Return the (T,) distances of x[i] and y[j]."""

    def pull_at(self, pairs: Pairs, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of sum(slopes * distances), (T,) each, of pairs."""


def strips(x: Tensor, columns: int) -> Iterator[slice]:
    """Yield slices of the rows of x, for strips of bounded size; work may be stopped between two."""
    elements = STRIP_ELEMENTS if x.device.type == "cpu" else _GPU_STRIP_ELEMENTS
    count = max(1, -(-len(x) // max(1, elements // max(1, columns))))
    height = max(1, -(-len(x) // count))  # of even strips: the last is not a sliver
    for start in range(0, len(x), height):
        checkpoint()
        yield slice(start, min(start + height, len(x)))


class Direct:
    """Any metric, by its formula on the differences of the rows; gradients by autograd, tile by tile."""

    def __init__(self, x: Tensor, y: Tensor, metric: Metric) -> None:
        self._x, self._y = x, y
        self._formula = formula(metric)
        self._elements = tile_elements(metric)

    def strip(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Return the (R, M) distances of these rows of x to all of y, in `out` if given."""
        x = self._x[rows]
        out = x.new_empty(len(x), len(self._y)) if out is None else out
        for tile, columns in self._tiles(len(x)):
            out[tile, columns] = self._compare(x[tile], self._y[columns])
        return out

    def pull(self, rows: slice, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of a strip; the distances are formed anew."""
        x, x_gradient = self._x[rows], into.x[rows]
        for tile, columns in self._tiles(len(x)):
            parts = self._gradients(x[tile], self._y[columns], slopes[tile, columns])
            x_gradient[tile] += parts[0]
            into.y[columns] += parts[1]

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Return the (T,) distances of x[i] and y[j]."""
        out = self._x.new_empty(len(i))
        for part in gathers(len(i), self._x.shape[1]):
            left, right = self._x[i[part]], self._y[j[part]]
            out[part] = self._compare(left.unsqueeze(1), right.unsqueeze(1)).flatten()
        return out

    def pull_at(self, pairs: Pairs, distances: Tensor, slopes: Tensor, into: Gradients) -> None:
        """Add the gradient of pairs; the distances are formed anew."""
        i, j = pairs
        for part in gathers(len(i), self._x.shape[1]):
            left, right = self._x[i[part]].unsqueeze(1), self._y[j[part]].unsqueeze(1)
            parts = self._gradients(left, right, slopes[part].reshape(-1, 1, 1))
            into.x.index_add_(0, i[part], parts[0].squeeze(1))
            into.y.index_add_(0, j[part], parts[1].squeeze(1))

    def _compare(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # which would compute products in half precision
            return self._formula(x, y)

    def _gradients(self, x: Tensor, y: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
            return torch.autograd.grad(self._compare(x, y), (x, y), slopes)

    def _tiles(self, height: int) -> Iterator[tuple[slice, slice]]:
        """Yield the rows and columns of tiles that hold at most `tile_elements` differences."""
        elements = max(1, self._elements // self._x.shape[1])
        width = min(elements, max(1, len(self._y)))
        step = max(1, elements // width)
        for top in range(0, height, step):
            for left in range(0, len(self._y), width):
                checkpoint()
                yield slice(top, top + step), slice(left, left + width)


def gathers(count: int, columns: int) -> Iterator[slice]:
    """Yield slices of `count` pairs, whose gathered rows are of bounded size."""
    length = max(1, _GATHERED_ELEMENTS // columns)
    for start in range(0, count, length):
        checkpoint()
        yield slice(start, start + length)
