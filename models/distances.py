"""Distances between rows: every row with every row, row by row, or two matrices as a whole.

Rows are compared strip by strip: what is held beyond copies of the inputs and the answer is a strip and its
temporaries, in the backward pass too, which keeps the answer. No input is modified.

Numbers: float64 stays float64; everything else computes in float32 (integers beyond 2**24 are rounded).
Equal rows are at distance exactly 0, with gradient 0 (cross-entropy excepted: it is H(p) there). The metrics
of degree 1 are divided by a power of two first, so that nothing overflows unless the answer does; a euclidean
difference below 1e-34 (float32) of the largest magnitude it is compared with is 0. Larger inputs go through
matrix products, which follow `torch.set_float32_matmul_precision`: with its default the relative error of a
euclidean distance is at most 1e-5 in float32; a lower precision makes it up to 1e-2. See docs/losses.md.
"""

import math
from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

from models.errors import DomainError, NonFiniteError, OptionError, ShapeError
from models.formulas import DISTRIBUTIONS, MATRIX_METRICS, METRICS, Metric, metric_of, power_of_two
from models.tiles import distances_at, distances_between, fitting, streamed_sum

__all__ = [
    "MATRIX_METRICS",
    "METRICS",
    "Metric",
    "as_row_metric",
    "l2_normalize",
    "matrix_distance",
    "metric_of",
    "paired",
    "pairwise",
    "prepare",
    "reduce_distances",
    "unit_rows",
]

_SUM_TOLERANCE = 1e-4


def pairwise(x: Tensor, y: Tensor | None = None, metric: Metric | str = "euclidean") -> Tensor:
    """Return the distance between every row of x and every row of y (without y: of x).

    Args:
        x: (N, D), any real dtype; under `kl_divergence` and `cross_entropy` these are the distributions P.
        y: (M, D), same device; there the distributions Q.
        metric: one of `METRICS`.

    Returns:
        (N, M), float32 or the inputs' float64, >= 0; empty where N or M is 0.

    Raises:
        ShapeError: an input is not 2-D, has no columns, or D differs.
        NonFiniteError: NaN or infinity in an input.
        DomainError: a zero row under `cosine`; a row that is no distribution, or q = 0 where p > 0.
        OverflowedError: an answer beyond its dtype.
        OptionError: an unknown metric, or one of whole matrices.

    Example:
        >>> pairwise(torch.tensor([[0.0, 0.0], [3.0, 4.0]])).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    metric = as_row_metric(metric)
    rows = prepare({"x": x} if y is None else {"x": x, "y": y}, metric)
    return distances_between(rows[0], rows[-1], metric)


def paired(x: Tensor, y: Tensor, metric: Metric | str = "euclidean") -> Tensor:
    """Return the distance between row i of x and row i of y, for every i.

    Args:
        x: (N, D), any real dtype.
        y: (N, D), same device.
        metric: one of `METRICS`.

    Returns:
        (N,), as `pairwise` otherwise.

    Raises:
        InputError: as `pairwise`; ShapeError too where the numbers of rows differ.
    """
    metric = as_row_metric(metric)
    x, y = prepare({"x": x, "y": y}, metric)
    if len(x) != len(y):
        message = f"Paired distances need as many rows in y as in x: x has {len(x)}, y has {len(y)}."
        raise ShapeError(message, argument="y", expected=len(x), got=len(y))
    rows = torch.arange(len(x), device=x.device)
    return distances_at(x, y, (rows, rows), metric)


def matrix_distance(x: Tensor, y: Tensor, metric: Metric | str = "frobenius") -> Tensor:
    """Return the norm of the matrix x - y: `frobenius`, or `nuclear` (the sum of the singular values).

    Args:
        x: (N, D), any real dtype.
        y: (N, D), same device.
        metric: one of `MATRIX_METRICS`.

    Returns:
        (), >= 0; 0 with gradient 0 for equal matrices.

    Raises:
        ShapeError: an input is not 2-D, or the shapes differ.
        NonFiniteError: NaN or infinity in an input.
        OverflowedError: an answer beyond its dtype.
        OptionError: an unknown metric, or one of rows.
    """
    metric = Metric(metric) if isinstance(metric, str) else metric
    if metric.name not in MATRIX_METRICS:
        message = f"{metric.name} compares rows; two matrices have {' and '.join(MATRIX_METRICS)}."
        raise OptionError(message, argument="metric")
    x, y = prepare({"x": x, "y": y}, Metric("euclidean"))
    if x.shape != y.shape:
        message = (
            f"{metric.name} needs two matrices of one shape: x is {tuple(x.shape)}, y is {tuple(y.shape)}."
        )
        raise ShapeError(message, argument="y", expected=tuple(x.shape), got=tuple(y.shape))
    if len(x) == 0:
        return (x - y).sum()
    scale = power_of_two(x, y, headroom=0).squeeze()
    difference = x / scale - y / scale
    if metric.name == "frobenius":
        answer = torch.linalg.vector_norm(difference) * scale
    else:
        # relu: a singular value of 0 has the gradient 0, one of the subgradients, not an arbitrary one.
        answer = torch.relu(torch.linalg.svdvals(difference)).sum() * scale
    return fitting(answer, f"The {metric.name} distance")


def l2_normalize(x: Tensor) -> Tensor:
    """Return the rows of x divided by their Euclidean length, at any scale of the input.

    Args:
        x: (N, D), any real dtype.

    Returns:
        (N, D), float32 or the input's float64.

    Raises:
        ShapeError: x is not 2-D or has no columns.
        NonFiniteError: NaN or infinity in x.
        DomainError: a row of zeros, which has no direction.
    """
    (x,) = prepare({"x": x}, Metric("euclidean"))
    return unit_rows(x, "x")


def reduce_distances(d: Tensor, reduction: str = "none") -> Tensor:
    """Fold distances into their `mean` or `sum` (added in float64); `none` returns them as they are.

    Raises:
        OptionError: another reduction.
        ShapeError: the mean of no distances.
        OverflowedError: a sum beyond its dtype.
    """
    if reduction == "none":
        return d
    if reduction not in {"mean", "sum"}:
        raise OptionError(f"reduction is none, mean or sum, not {reduction!r}.", argument="reduction")
    if reduction == "sum":
        return fitting(streamed_sum(d).to(d.dtype), "The sum of the distances")
    if d.numel() == 0:
        raise ShapeError("There are no distances to take the mean of.", argument="d", expected=">= 1", got=0)
    return (streamed_sum(d) / d.numel()).to(d.dtype)


def as_row_metric(metric: Metric | str) -> Metric:
    """Return the metric of that name.

    Raises:
        OptionError: an unknown name, or a metric of whole matrices.
    """
    if not isinstance(metric, str | Metric):
        message = f"The metric is a name or a Metric, not {metric!r}; only given triplets take a callable."
        raise OptionError(message, argument="metric")
    metric = Metric(metric) if isinstance(metric, str) else metric
    if metric.name in MATRIX_METRICS:
        message = f"{metric.name} compares two whole matrices, not rows; use {', '.join(METRICS)}."
        raise OptionError(message, argument="metric")
    return metric


def prepare(inputs: Mapping[str, Tensor], metric: Metric) -> list[Tensor]:
    """Check the rows of the named inputs and return them in the form that the metric's formula takes.

    Args:
        inputs: (_, D) each; the names stand in the errors.
        metric: a row metric.

    Returns:
        The inputs, contiguous, in their common dtype (float32 or float64); unit rows under `cosine`.

    Raises:
        ShapeError: an input is not 2-D, has no columns, or D differs.
        NonFiniteError: NaN or infinity.
        DomainError: complex numbers, a zero row under `cosine`, or a row that is no distribution.
    """
    _check_shapes(inputs)
    dtype = reduce(torch.promote_types, (values.dtype for values in inputs.values()))
    if dtype != torch.float64:
        dtype = torch.float32
    rows = {name: values.to(dtype).contiguous() for name, values in inputs.items()}
    for name, values in rows.items():
        # NaN is the largest and the smallest of all, so two numbers tell without a copy of the rows.
        if len(values) and not all(map(math.isfinite, values.detach().aminmax())):
            row = _first(~torch.isfinite(values).all(1))
            raise NonFiniteError(f"Row {row} of {name} has NaN or infinity.", argument=name, row=row)
        if metric.name in DISTRIBUTIONS:
            _check_distributions(values, name)
    if metric.name != "cosine":
        return list(rows.values())
    # In one call, so that equal rows of two inputs are added up in the same order and stay equal.
    for name, values in rows.items():
        _check_directions(values, name)
    units = _unit(torch.cat(list(rows.values())))
    return list(torch.split(units, [len(values) for values in rows.values()]))


def unit_rows(x: Tensor, name: str) -> Tensor:
    """Return the prepared rows of x at length 1.

    Raises:
        DomainError: a row of zeros.
    """
    _check_directions(x, name)
    return _unit(x)


def _unit(x: Tensor) -> Tensor:
    if len(x) == 0:
        return x
    x = x / power_of_two(x.unsqueeze(1), headroom=0).squeeze(1)
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / length


def _check_shapes(inputs: Mapping[str, Tensor]) -> None:
    first = next(iter(inputs))
    for name, values in inputs.items():
        _check_dense(values, name)
        if values.is_complex():
            raise DomainError(f"{name} has complex numbers; distances take real ones.", argument=name)
        if values.ndim != 2:
            message = f"{name} must have 2 dimensions (rows, columns), not {values.ndim}."
            raise ShapeError(message, argument=name, expected=2, got=values.ndim)
        columns, expected = values.shape[1], inputs[first].shape[1]
        if columns == 0:
            raise ShapeError(f"{name} has rows without columns.", argument=name, expected=">= 1", got=0)
        if columns != expected:
            message = (
                f"{name} has {columns} columns where {first} has {expected}; rows must be of one length."
            )
            raise ShapeError(message, argument=name, expected=expected, got=columns)


def _check_dense(values: object, name: str) -> None:
    if isinstance(values, Tensor) and values.layout == torch.strided and not values.is_meta:
        return
    kind = (
        "one that is sparse or without numbers"
        if isinstance(values, Tensor)
        else f"a {type(values).__name__}"
    )
    message = f"{name} must be a dense torch tensor, not {kind}; torch.as_tensor makes one of an array."
    raise ShapeError(message, argument=name, expected="a dense tensor", got=kind)


def _check_directions(x: Tensor, name: str) -> None:
    zero = (x == 0).all(1)
    if zero.any():
        row = _first(zero)
        raise DomainError(f"Row {row} of {name} is zero and has no direction.", argument=name, row=row)


def _check_distributions(x: Tensor, name: str) -> None:
    sums = x.sum(1, dtype=torch.float64)
    bad = (x < 0).any(1) | ((sums - 1).abs() > _SUM_TOLERANCE)
    if bad.any():
        row = _first(bad)
        message = (
            f"Row {row} of {name} is no distribution: its smallest number is {x[row].min():.6g} "
            f"and its sum {sums[row]:.6g}; numbers must be >= 0 and sum to 1 within {_SUM_TOLERANCE:g}."
        )
        raise DomainError(message, argument=name, row=row)


def _first(flags: Tensor) -> int:
    return int(flags.nonzero()[0])
