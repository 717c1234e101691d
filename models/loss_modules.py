"""The triplet losses as modules, for a training loop: options checked once, the counts beside the loss.

They have no parameters, no buffers and no modes. Each remembers the result of its last call, detached, so
that no graph outlives the step. Under `torch.autocast` they compute as without it: float16 and bfloat16
embeddings in float32. Matrix products follow `torch.set_float32_matmul_precision`, whose default is full.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.batch_losses import BatchLoss, batch_triplet_loss
from models.explicit_losses import Distance, ExplicitLoss, TripletOptions, explicit_triplet_loss
from models.formulas import Metric
from models.margins import Margin
from models.triplets import Labels

__all__ = ["BatchAllTripletLoss", "BatchHardTripletLoss", "BatchSemiHardTripletLoss", "TripletMarginLoss"]


class TripletMarginLoss(nn.Module):
    """The loss of given triplets, in the place of `torch.nn.TripletMarginLoss`.

    Called `(anchor, positive, negative)`, (B, D) each, it returns their `models.losses.triplet_margin_loss`:
    (), or (B,) under the reduction `none`. The first four options stand in torch's order.

    Args:
        margin: > 0.
        p: the order of the norm, with `euclidean` and `minkowski`; None is 2.
        eps: added to each difference, with `euclidean`; None is 1e-6.
        swap: use d(p, n) where it is smaller than d(a, n).
        distance: a row metric, or a callable (B, D), (B, D) -> (B,); a lambda cannot be pickled.
        alpha: adds alpha (d_ap + d_an) to each triplet.
        reduction: none, mean, sum or mean_active.

    Attributes:
        options: all of these.
        last_result: the last call's counts and detached loss; None before the first.

    Raises:
        OptionError: a value out of its range, or options that do not go together.

    Example:
        >>> loss = TripletMarginLoss(margin=0.5, swap=True)
        >>> a, p, n = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.25]])
        >>> round(loss(a, p, n).item(), 4), loss.last_result.fraction_active
        (1.25, 1.0)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float | None = None,
        eps: float | None = None,
        swap: bool = False,
        *,
        distance: Distance = "euclidean",
        alpha: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.options = TripletOptions(
            margin=margin, distance=distance, p=p, eps=eps, swap=swap, alpha=alpha, reduction=reduction
        )
        self.last_result: ExplicitLoss | None = None

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss.

        Raises:
            InputError: as `models.losses.explicit_triplet_loss`.
        """
        result = explicit_triplet_loss(anchor, positive, negative, self.options)
        self.last_result = replace(result, loss=result.loss.detach().clone())
        return result.loss

    def extra_repr(self) -> str:
        """Return the options that say which loss this is."""
        orders = [name for name in ("p", "eps") if getattr(self.options, name) is not None]
        return _shown(self.options, ["margin", "distance", *orders, "swap", "alpha", "reduction"])


class _BatchTripletLoss(nn.Module):
    """A mined loss, called `(embeddings, labels)`; its subclasses name the mining."""

    mining: ClassVar[str]

    def __init__(
        self,
        margin: Margin = 0.2,
        *,
        distance: Metric | str = "euclidean",
        normalize: bool = False,
        reduction: str | None = None,
        return_triplets: int = 0,
    ) -> None:
        super().__init__()
        self.margin: Margin = margin
        self.distance = distance
        self.normalize = normalize
        self.reduction = reduction
        self.return_triplets = return_triplets
        self.last_result: BatchLoss | None = None
        self._result(torch.zeros(0, 1, device="cpu"), [])  # a batch of nothing, for the checks of the options

    def forward(self, embeddings: Tensor, labels: Labels) -> Tensor:
        """Return the loss: (), or one for each triplet formed under the reduction `none`.

        Args:
            embeddings: (N, D), any real dtype; not modified.
            labels: N hashables, or an integer tensor (N,).

        Raises:
            InputError: as `models.losses.batch_triplet_loss`.
        """
        result = self._result(embeddings, labels)
        self.last_result = replace(result, loss=result.loss.detach().clone())
        return result.loss

    def extra_repr(self) -> str:
        """Return the options."""
        return _shown(self, ["margin", "distance", "normalize", "reduction", "return_triplets"])

    def _result(self, embeddings: Tensor, labels: Labels) -> BatchLoss:
        return batch_triplet_loss(
            embeddings,
            labels,
            mining=self.mining,
            margin=self.margin,
            distance=self.distance,
            normalize=self.normalize,
            reduction=self.reduction,
            return_triplets=self.return_triplets,
        )


class BatchAllTripletLoss(_BatchTripletLoss):
    """The loss of every valid triplet of a labelled batch; by default their mean over the active ones.

    Args:
        margin: > 0, or "soft" for ln(1 + exp(d_ap - d_an)); may be set between steps.
        distance: a row metric.
        normalize: bring a copy of the rows to length 1 first.
        reduction: mean, sum or mean_active; None is mean_active.
        return_triplets: how many triplets of largest loss `last_result` lists.

    Attributes:
        last_result: the `BatchLoss` of the last call, its loss detached; None before the first. In a batch
            without a triplet its `valid_triplets` is 0; the loss is then 0, with gradient 0.

    Raises:
        OptionError: an unknown name, a margin <= 0, or options that do not go together.

    Source: Schroff et al. 2015, equation 3; Hermans et al. 2017, equation 6.

    Example:
        >>> loss = BatchAllTripletLoss(margin=0.5)
        >>> batch = torch.tensor([[0.0], [1.0], [1.25], [9.0]], requires_grad=True)
        >>> loss(batch, ["a", "a", "b", "c"]).backward()
        >>> loss.last_result.active_triplets, loss.last_result.valid_triplets
        (2, 4)
    """

    mining = "all"


class BatchHardTripletLoss(_BatchTripletLoss):
    """The loss of each anchor's farthest positive and nearest negative; by default their mean.

    Options, attributes and errors are those of `BatchAllTripletLoss`, but that a reduction of None is mean,
    that `none` gives a loss for each anchor that takes part, and that `return_triplets=-1` lists them all.

    Source: Hermans et al. 2017, equation 5.
    """

    mining = "hard"


class BatchSemiHardTripletLoss(_BatchTripletLoss):
    """The loss of each positive pair and its nearest negative with d_an > d_ap (else the farthest negative).

    Options, attributes and errors are those of `BatchAllTripletLoss`, but that a reduction of None is mean,
    that `none` gives a loss for each positive pair, and that `return_triplets=-1` lists them all.

    Source: Schroff et al. 2015, section 3.2.
    """

    mining = "semi_hard"


def _shown(options: object, names: list[str]) -> str:
    return ", ".join(f"{name}={getattr(options, name)!r}" for name in names)
