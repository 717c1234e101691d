"""What a triplet costs, and how the costs of many fold into one number."""

import math
from typing import Literal, NamedTuple

from torch import Tensor
from torch.nn import functional as F

from models.errors import OptionError
from models.tiles import fitting, streamed_sum

__all__ = [
    "REDUCTIONS",
    "CostedTriplets",
    "Margin",
    "check_margin",
    "divisor",
    "fold",
    "fold_sum",
    "require_reduction",
    "triplet_costs",
]

REDUCTIONS: tuple[str, ...] = ("none", "mean", "sum", "mean_active")

Margin = float | Literal["soft"]


class CostedTriplets(NamedTuple):
    """Triplets beside their distances and costs, (T,) each."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    d_ap: Tensor
    d_an: Tensor
    cost: Tensor

    def at(self, index: Tensor) -> "CostedTriplets":
        """Return the triplets of these positions."""
        return CostedTriplets(*(column[index] for column in self))

    def largest(self, count: int) -> "CostedTriplets":
        """Return the `count` of largest cost, largest first; ties in the order they stand in."""
        count = min(count, len(self.cost))
        if count == 0:
            return self.at(self.anchor[:0])
        threshold = self.cost.topk(count).values[-1]
        candidates = (self.cost >= threshold).nonzero().squeeze(1)
        order = self.cost[candidates].sort(descending=True, stable=True).indices[:count]
        return self.at(candidates[order])


def check_margin(margin: object) -> None:
    """Raise OptionError unless the margin is a finite number > 0, or "soft"."""
    if margin == "soft":
        return
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < math.inf:
        raise OptionError(
            f"margin must be a finite number greater than 0, not {margin!r}.", argument="margin"
        )


def require_reduction(reduction: str) -> None:
    """Raise OptionError unless the reduction is one of `REDUCTIONS`."""
    if reduction not in REDUCTIONS:
        message = f"reduction is one of {', '.join(REDUCTIONS)}, not {reduction!r}."
        raise OptionError(message, argument="reduction")


def triplet_costs(d_ap: Tensor, d_an: Tensor, margin: Margin) -> Tensor:
    """Return max(d_ap + margin - d_an, 0), or under the soft margin ln(1 + exp(d_ap - d_an)).

    Args:
        d_ap: distances of the positives.
        d_an: distances of the negatives; the two shapes broadcast.
        margin: > 0, or "soft".

    Source: Schroff et al. 2015, equation 2; Hermans et al. 2017, equation 5 and its soft margin.
    """
    if margin == "soft":
        return -F.logsigmoid(d_an - d_ap)
    return F.relu(d_ap + margin - d_an)


def fold(costs: Tensor, active: Tensor, reduction: str) -> Tensor:
    """Fold the costs of triplets: `none`, `sum`, `mean`, or `mean_active` (their mean over the active ones).

    Args:
        costs: (T,), differentiable.
        active: (T,) bool.
        reduction: one of `REDUCTIONS`.

    Returns:
        (T,) for `none`, else (); 0 where there is nothing to take the mean of.

    Raises:
        OverflowedError: a loss beyond its dtype.
    """
    if reduction == "none":
        return fitting(costs, "The loss")
    if reduction == "mean_active":
        costs = costs.where(active, 0.0)
    total = fold_sum(streamed_sum(costs), len(costs), int(active.sum()), reduction)
    return fitting(total.to(costs.dtype), "The loss")


def fold_sum(total: Tensor, valid: int, active: int, reduction: str) -> Tensor:
    """Return the sum of the costs over their number, as the reduction asks."""
    return total / divisor(valid, active, reduction)


def divisor(valid: int, active: int, reduction: str) -> int:
    """Return what a sum of costs is divided by: 1, or the number of triplets that the mean is taken of."""
    return max(1, {"sum": 1, "mean": valid, "mean_active": active}[reduction])
