"""The triplet loss on given triplets, in torch's convention."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.distances import as_row_metric, prepare
from models.errors import NonFiniteError, OptionError, ShapeError
from models.formulas import Metric
from models.margins import check_margin, fold, require_reduction, triplet_costs
from models.tiles import distances_at

__all__ = ["Distance", "ExplicitLoss", "TripletOptions", "explicit_triplet_loss", "triplet_margin_loss"]

Distance = str | Metric | Callable[[Tensor, Tensor], Tensor]

_TORCH_EPS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletOptions:
    """How given triplets are compared and folded.

    Attributes:
        margin: > 0.
        distance: a row metric, or a callable (B, D), (B, D) -> (B,).
        p: the order, > 0: of `minkowski`, or with `euclidean` (the default) of torch's p-norm; None is 2.
        eps: added to each difference under `euclidean`, as torch does, so that equal rows are at
            D^(1/p) eps; None is 1e-6. No other distance takes it.
        swap: let d(positive, negative) stand for d(anchor, negative) where it is smaller.
        alpha: >= 0; adds alpha (d_ap + d_an) to each triplet, with the d_an that the hinge uses.
        reduction: none, mean, sum, or mean_active (over the triplets whose hinge is not 0).

    Raises:
        OptionError: a value out of its range, or options that do not go together.
    """

    margin: float = 1.0
    distance: Distance = "euclidean"
    p: float | None = None
    eps: float | None = None
    swap: bool = False
    alpha: float = 0.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if isinstance(self.margin, str):
            raise OptionError("The soft margin belongs to mined batches; give a number.", argument="margin")
        check_margin(self.margin)
        require_reduction(self.reduction)
        if not 0 <= self.alpha < math.inf:
            raise OptionError(f"alpha must be a finite number >= 0, not {self.alpha}.", argument="alpha")
        if self.eps is not None and not 0 <= self.eps < math.inf:
            raise OptionError(f"eps must be a finite number >= 0, not {self.eps}.", argument="eps")
        self._check_distance()

    def _check_distance(self) -> None:
        if not isinstance(self.distance, str | Metric):
            if self.p is not None or self.eps is not None:
                raise OptionError("A callable distance takes no p and no eps.", argument="distance")
            return
        metric = self.metric()
        if isinstance(self.distance, Metric) and metric.name == "minkowski" and self.p is not None:
            raise OptionError("The Metric has its p already.", argument="p")
        if self.eps is not None and not self.torch_norm:
            raise OptionError(f"{metric.name} takes no eps; the default distance does.", argument="eps")

    @property
    def torch_norm(self) -> bool:
        """Return whether the distance is torch's p-norm with eps."""
        return self.distance in ("euclidean", Metric("euclidean"))

    def metric(self) -> Metric:
        """Return the row metric, p included; of a callable, the one whose inputs it shares."""
        if not isinstance(self.distance, str | Metric):
            return Metric("euclidean")
        if self.p is None:
            return as_row_metric(self.distance)
        name = self.distance if isinstance(self.distance, str) else self.distance.name
        return as_row_metric(Metric("minkowski" if self.torch_norm else name, self.p))


@dataclass(frozen=True, slots=True)
class ExplicitLoss:
    """The loss of given triplets, and how many of them drive it.

    Attributes:
        loss: (), or (B,) under the reduction `none`; differentiable.
        valid_triplets: B.
        active_triplets: those whose hinge is not 0.
    """

    loss: Tensor
    valid_triplets: int
    active_triplets: int

    @property
    def fraction_active(self) -> float:
        """Return active / valid; 0 where there is no triplet."""
        return self.active_triplets / max(1, self.valid_triplets)


def triplet_margin_loss(  # noqa: PLR0913 - torch's signature
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 1.0,
    distance: Distance = "euclidean",
    p: float | None = None,
    eps: float | None = None,
    swap: bool = False,
    alpha: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Return max(d(a, p) - d(a, n) + margin, 0) over B triplets, reduced.

    Agrees with `torch.nn.functional.triplet_margin_loss` (its eps, its swap) and, for another distance, with
    `triplet_margin_with_distance_loss`; the gradient exactly at the hinge is 0. The options are those of
    `TripletOptions`. Without a triplet the loss is 0, with gradient 0.

    Args:
        anchor: (B, D), any real dtype.
        positive: (B, D), same device.
        negative: (B, D), same device.
        margin: > 0.
        distance: a row metric, or a callable (B, D), (B, D) -> (B,).
        p: the order of the norm, with `euclidean` and `minkowski`; None is 2.
        eps: added to each difference, with `euclidean`; None is 1e-6.
        swap: use d(p, n) where it is smaller than d(a, n).
        alpha: adds alpha (d_ap + d_an) to each triplet.
        reduction: none, mean, sum or mean_active.

    Returns:
        (), or (B,) under `none`; float32 or the inputs' float64.

    Raises:
        InputError: as `explicit_triplet_loss`.

    Source: Balntas et al. 2016, section 2.

    Example:
        >>> a, p, n = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.5]])
        >>> round(triplet_margin_loss(a, p, n).item(), 6)
        0.5
    """
    options = TripletOptions(
        margin=margin, distance=distance, p=p, eps=eps, swap=swap, alpha=alpha, reduction=reduction
    )
    return explicit_triplet_loss(anchor, positive, negative, options).loss


def explicit_triplet_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, options: TripletOptions | None = None
) -> ExplicitLoss:
    """Return the loss of `triplet_margin_loss` with the numbers of triplets.

    Raises:
        ShapeError: inputs that are not 2-D or differ in shape; a callable that does not return (B,).
        NonFiniteError: NaN or infinity in an input, or from a callable.
        DomainError: a row outside the metric's domain.
        OverflowedError: a distance or loss beyond its dtype.
        OptionError: from `TripletOptions`.
    """
    options = options or TripletOptions()
    rows = prepare({"anchor": anchor, "positive": positive, "negative": negative}, options.metric())
    for name, values in zip(("positive", "negative"), rows[1:], strict=True):
        if len(values) != len(rows[0]):
            message = f"{name} has {len(values)} rows where anchor has {len(rows[0])}."
            raise ShapeError(message, argument=name, expected=len(rows[0]), got=len(values))
    a, p, n = rows
    d_ap, d_an = _distance(a, p, options), _distance(a, n, options)
    if options.swap:
        d_an = torch.minimum(d_an, _distance(p, n, options))
    costs = triplet_costs(d_ap, d_an, options.margin)
    active = costs > 0
    if options.alpha:
        costs = costs + options.alpha * (d_ap + d_an)
    return ExplicitLoss(fold(costs, active, options.reduction), len(costs), int(active.sum()))


def _distance(x: Tensor, y: Tensor, options: TripletOptions) -> Tensor:
    """Return the (B,) distances of prepared rows."""
    if callable(options.distance):
        with torch.autocast(x.device.type, enabled=False):  # as our own distances, in full precision
            return _checked(options.distance(x, y), len(x))
    if options.torch_norm:  # pairwise_distance(x, y) is the norm of x - y + eps
        x = x - y + (_TORCH_EPS if options.eps is None else options.eps)
        y = torch.zeros_like(x)
    rows = torch.arange(len(x), device=x.device)
    return distances_at(x, y, (rows, rows), options.metric())


def _checked(distances: Tensor, expected: int) -> Tensor:
    if distances.shape != (expected,):
        shape = tuple(distances.shape)
        message = (
            f"The distance must return {expected} numbers for {expected} pairs of rows; its shape is {shape}."
        )
        raise ShapeError(message, argument="distance", expected=(expected,), got=shape)
    if not torch.isfinite(distances).all():
        row = int((~torch.isfinite(distances)).nonzero()[0])
        raise NonFiniteError(f"The distance of pair {row} is NaN or infinite.", argument="distance", row=row)
    return distances
