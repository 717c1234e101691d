"""Whether training has collapsed: all embeddings at one point, where no triplet tells them apart.

Batch-hard mining does it when the learning rate is too high at the start: the loss then stays at the margin
(soft: at ln 2), which is what a triplet with d_ap = d_an costs. Embeddings that are merely close to each
other can still rank well, so that a good rank-1 does not show it.
"""

import math

from models.batch_losses import BatchLoss
from models.margins import Margin
from models.spread import Spread

__all__ = ["collapse_warning"]

_WELL_AFTER_START = 0.25  # the share of training from which on it should have left the point
_STANDING = 10  # batches in a row that no chance, and no start, puts at one point
_COLLAPSED_COSINE = 0.98
_NEAR = 0.05  # up to which share of the margin a loss is said to be at it
_TELLING = 0.9  # below which share of the median d_an the median d_ap tells identities apart

_OTHER_MINING = {
    "all": "semi-hard mining",
    "hard": "batch-all or semi-hard mining",
    "semi_hard": "batch-all mining",
}


def collapse_warning(
    result: BatchLoss, spread: Spread, *, loss: float, margin: Margin, done: float, standing: int
) -> str | None:
    """Return what is wrong and what to try, or None where nothing is.

    Args:
        result: of the batch.
        spread: of the same batch.
        loss: the mean of the triplet loss over the last steps: one batch may be at the margin by chance.
        margin: of that loss.
        done: the share of training that is done, 0 to 1.
        standing: how many batches in a row were collapsed, this one among them; ten are told of at any time.

    Source: Hermans et al. 2017, their notes on network training, on the loss that stays at the margin.
    """
    if standing < _STANDING and done < _WELL_AFTER_START:
        return None
    sign = _sign(result, spread, loss, margin)
    if sign is None:
        return None
    return (
        f"{sign} Stop here, and begin again (--fresh) with {_OTHER_MINING[result.mining]} (--mining), a "
        "lower --learning-rate, or a longer --warm-up."
    )


def _sign(result: BatchLoss, spread: Spread, loss: float, margin: Margin) -> str | None:
    if result.collapsed:
        return "all embeddings of the batch are at one point, and no gradient moves them."
    if spread.cosine > _COLLAPSED_COSINE:
        return f"the mean cosine of two embeddings of the batch is {spread.cosine:.3f}."
    level = math.log(2) if margin == "soft" else margin
    d_ap, d_an = spread.medians
    averaged = result.reduction in {"mean", "mean_active"}  # a sum of losses has no such level
    if averaged and abs(loss - level) <= _NEAR * level and d_ap >= _TELLING * d_an:
        return (
            f"the loss stays at {loss:.3f}, what a triplet costs with d_ap = d_an "
            f"(the medians are {d_ap:.4g} and {d_an:.4g})."
        )
    return None
