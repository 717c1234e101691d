"""Batch-all: every valid triplet of a batch, in memory of one tile.

The gradient is formed in the forward pass. A positive pair pulls with the sum of its triplets' slopes, each
of these pushes its negative: dL/dd_ap and dL/dd_an of a tile of anchors, and from them the gradient of x.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.formulas import Metric
from models.margins import CostedTriplets, Margin, triplet_costs
from models.triplets import PairBlock, count_classes, distance_tiles, pair_blocks

__all__ = ["batch_all_sum", "worst_triplets"]


def batch_all_sum(x: Tensor, codes: Tensor, metric: Metric, margin: Margin) -> tuple[Tensor, Tensor]:
    """Return the summed cost of every valid triplet, and their classes.

    Args:
        x: (N, D), prepared.
        codes: (N,), from `models.triplets.encode_labels`.
        metric: a row metric.
        margin: > 0, or "soft".

    Returns:
        The sum, () float64, differentiable once; easy, semi-hard and hard, (3,) int64.
    """
    if not torch.is_grad_enabled():
        x = x.detach()
    total, counts = _BatchAll.apply(x, codes, metric, margin)  # type: ignore[no-untyped-call]  # of torch
    return total, counts


def worst_triplets(x: Tensor, codes: Tensor, metric: Metric, margin: Margin, count: int) -> CostedTriplets:
    """Return the `count` valid triplets of largest cost, largest first; ties go to the lowest rows.

    Args:
        x: (N, D), prepared.
        codes: (N,), from `models.triplets.encode_labels`.
        metric: a row metric.
        margin: > 0, or "soft".
        count: >= 0.
    """
    none, nothing = codes[:0], x.detach()[:0, 0]
    worst = CostedTriplets(none, none, none, nothing, nothing, nothing)
    if count == 0:
        return worst
    with torch.no_grad():
        for rows, distances in distance_tiles(x, metric):
            for block in pair_blocks(distances, codes, rows):
                merged = zip(worst, _worst_of(block, margin, count), strict=True)
                worst = CostedTriplets(*(torch.cat(columns) for columns in merged)).largest(count)
    return worst


def _worst_of(block: PairBlock, margin: Margin, count: int) -> CostedTriplets:
    pairs, negatives = block.negative.nonzero().unbind(1)
    d_ap, d_an = block.d_ap[pairs, 0], block.d_an[pairs, negatives]
    costs = triplet_costs(d_ap, d_an, margin)
    return CostedTriplets(block.anchor[pairs], block.positive[pairs], negatives, d_ap, d_an, costs).largest(
        count
    )


class _BatchAll(torch.autograd.Function):
    """x (N, D), codes (N,) -> sum (), counts (3,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, metric: Metric, margin: Margin) -> tuple[Tensor, Tensor]:
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        counts = torch.zeros(3, dtype=torch.int64, device=x.device)
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(x) if wanted else None
        leaf = x.detach().requires_grad_(wanted)
        with torch.set_grad_enabled(wanted):
            for rows, distances in distance_tiles(leaf, metric):
                slopes = torch.zeros_like(distances)  # dL / d distances, (R, N)
                for block in pair_blocks(distances.detach(), codes, rows):
                    total += _add_block(block, margin, slopes, rows)
                    counts += count_classes(
                        block.d_ap, block.d_an, 0.0 if margin == "soft" else margin, block.negative
                    )
                if gradient is not None:
                    gradient += torch.autograd.grad(distances, leaf, slopes)[0]
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(counts)
        return total, counts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None


def _add_block(block: PairBlock, margin: Margin, slopes: Tensor, rows: slice) -> Tensor:
    """Add the block's slopes to those of its tile, and return its summed cost in float64."""
    costs = triplet_costs(block.d_ap, block.d_an, margin).masked_fill(~block.negative, 0.0)
    if margin == "soft":
        share = torch.sigmoid(block.d_ap - block.d_an).masked_fill(~block.negative, 0.0)
    else:
        share = (costs > 0).to(costs.dtype)  # their sums are integers, exact up to 2**24
    local = block.anchor - rows.start
    slopes.index_put_((local, block.positive), share.sum(1), accumulate=True)
    slopes.index_add_(0, local, share, alpha=-1)
    return costs.sum(dtype=torch.float64)
