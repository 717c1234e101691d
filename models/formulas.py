"""The distances by name, and the formula behind each name.

A formula takes x (..., N, D) and y (..., M, D) to (..., N, M), on rows that `models.distances` has already
checked and, for the cosine, brought to unit length. It answers infinity where the true answer does not fit.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import OptionError

__all__ = [
    "DISTRIBUTIONS",
    "MATRIX_METRICS",
    "METRICS",
    "Formula",
    "Metric",
    "formula",
    "metric_of",
    "power_of_two",
    "tile_elements",
]

METRICS: tuple[str, ...] = (
    "euclidean",
    "squared_euclidean",
    "cosine",
    "manhattan",
    "chebyshev",
    "minkowski",
    "hamming",
    "kl_divergence",
    "cross_entropy",
)
MATRIX_METRICS: tuple[str, ...] = ("frobenius", "nuclear")
DISTRIBUTIONS = frozenset({"kl_divergence", "cross_entropy"})

_ORDERS = {"manhattan": 1.0, "chebyshev": math.inf}

Formula = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Metric:
    """A distance by its name; smaller is closer.

    Attributes:
        name: one of `METRICS`, or of `MATRIX_METRICS` for two whole matrices.
        p: the order of `minkowski`, > 0; infinity is the largest difference, as `chebyshev`.

    Raises:
        OptionError: an unknown name, p <= 0 or NaN, or p with a name other than `minkowski`.
    """

    name: str
    p: float = 2.0

    def __post_init__(self) -> None:
        known = (*METRICS, *MATRIX_METRICS)
        if self.name not in known:
            closest = difflib.get_close_matches(str(self.name), known, n=1)
            hint = f" Did you mean {closest[0]!r}?" if closest else ""
            message = f"There is no metric {self.name!r}.{hint} The metrics are {', '.join(known)}."
            raise OptionError(message, argument="metric")
        if not self.p > 0:
            raise OptionError(f"p must be greater than 0, not {self.p}.", argument="p")
        if self.p != 2.0 and self.name != "minkowski":
            raise OptionError(f"{self.name} takes no p; minkowski does.", argument="p")


def metric_of(name: str, p: float = 2.0) -> Metric:
    """Return the metric of a name and an order, of which `p` alone, with the default name, means the p-norm.

    Raises:
        OptionError: as `Metric`.
    """
    return Metric("minkowski" if name == "euclidean" and p != 2.0 else name, p)


def formula(metric: Metric) -> Formula:
    """Return the formula of a row metric; those that `models.euclid` computes have none here."""
    order = metric.p if metric.name == "minkowski" else _ORDERS.get(metric.name)
    if order is not None:
        return _p_norm(order)
    return {
        "hamming": _hamming,
        "kl_divergence": _kl_divergence,
        "cross_entropy": _cross_entropy,
    }[metric.name]


def tile_elements(metric: Metric) -> int:
    """Return how many of the N x M x D differences one tile may hold.

    `torch.cdist` holds none of them on a CPU, and all of them in its backward pass on a GPU; a product none.
    """
    direct = metric.name in {*_ORDERS, "hamming", "cross_entropy"} or (
        metric.name == "minkowski" and metric.p in _ORDERS.values()
    )
    return 2**26 if direct else 2**20


def power_of_two(*tensors: Tensor, headroom: int) -> Tensor:
    """Return the power of two s for which the largest magnitude over s is about 2**headroom.

    Args:
        tensors: (..., N, D) each, not empty.
        headroom: the exponent to reach: as high as the sums allow, so that little is lost at the small end.

    Returns:
        (..., 1, 1), without gradient; the smallest normal number where s would be smaller.
    """
    largest = torch.stack([tensor.detach().abs().amax((-2, -1), keepdim=True) for tensor in tensors]).amax(0)
    # largest = mantissa 2^e with the mantissa in [1/2, 1): the quotient is 2^(e-1), which never overflows.
    unit = largest / (2 * torch.frexp(largest).mantissa)
    unit = torch.where(largest > 0, unit, torch.ones_like(unit))
    return (unit / 2.0**headroom).clamp(min=torch.finfo(largest.dtype).tiny)


def _p_norm(p: float) -> Formula:
    if p in _ORDERS.values():
        return lambda x, y: _direct_norm(x, y, p)
    return lambda x, y: _minkowski(x, y, p)


def _direct_norm(x: Tensor, y: Tensor, p: float) -> Tensor:
    """Return the p-norm by differences, p = 1 or infinite; 0 with gradient 0 for equal rows."""
    scale = power_of_two(x, y, headroom=100)
    return torch.cdist(x / scale, y / scale, p) * scale


def _differences(x: Tensor, y: Tensor) -> Tensor:
    return x.unsqueeze(-2) - y.unsqueeze(-3)  # (..., N, M, D)


def _minkowski(x: Tensor, y: Tensor, p: float) -> Tensor:
    """Return max (sum (|x - y| / max)^p)^(1/p): the sum lies in [1, D], whatever p is.

    A coordinate without a difference adds no gradient (for p < 1 the slope there has no limit).
    """
    scale = power_of_two(x, y, headroom=100)
    gaps = _differences(x / scale, y / scale).abs()
    largest = gaps.detach().amax(-1)
    shares = gaps / largest.where(largest > 0, 1.0).unsqueeze(-1)
    if p < 1:
        differ = gaps > 0
        powers = torch.where(differ, shares.where(differ, 1.0) ** p, 0.0)
    else:
        powers = shares**p
    total = powers.sum(-1)
    return (largest * scale) * total.where(largest > 0, 1.0) ** (1 / p)


def _hamming(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, 0.0) / x.shape[-1]


def _kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return sum p ln(p/q); a coordinate with p = 0 adds neither value nor gradient."""
    p, log_p, log_q = _positive(p), _log(p), _log(q)
    # Two logarithms: p / q overflows where q is subnormal. Equal numbers still give exactly 0.
    answer = ((log_p.unsqueeze(-2) - log_q.unsqueeze(-3)) * p.unsqueeze(-2)).sum(-1)
    return torch.relu(answer) + _infinite_where_uncovered(p, q)


def _cross_entropy(p: Tensor, q: Tensor) -> Tensor:
    """Return - sum p ln q; a coordinate with p = 0 adds neither value nor gradient.

    It is a matrix product that loses no digits, as all its terms have one sign.
    """
    p = _positive(p)
    return torch.relu(-(p @ _log(q).mT)) + _infinite_where_uncovered(p, q)


def _positive(p: Tensor) -> Tensor:
    """Return p, with the gradient 0 where it is 0."""
    return p.where(p > 0, 0.0)


def _log(p: Tensor) -> Tensor:
    """Return ln p, and 0 with the gradient 0 where p is 0."""
    return p.where(p > 0, 1.0).log()


def _infinite_where_uncovered(p: Tensor, q: Tensor) -> Tensor | float:
    """Return (..., N, M): infinity where some coordinate has q = 0 and p > 0, else 0."""
    zero = q.detach() == 0
    if not zero.any():
        return 0.0
    uncovered = (p.detach() > 0).to(p.dtype) @ zero.to(p.dtype).mT
    return uncovered.new_zeros(()).where(uncovered == 0, torch.inf)
