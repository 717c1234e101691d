"""The triplets of largest loss among all valid ones of a batch, in memory of a strip."""

import torch
from torch import Tensor

from models.interruption import checkpoint
from models.margins import CostedTriplets, Margin, triplet_costs
from models.tiles import Strips
from models.triplets import Groups, negatives_only

__all__ = ["worst_triplets"]


def worst_triplets(strips: Strips, groups: Groups, margin: Margin, count: int) -> CostedTriplets:
    """Return the `count` valid triplets of largest cost, largest first; ties go to the lowest rows.

    Args:
        strips: the batch against itself.
        groups: its rows by label.
        margin: > 0, or "soft".
        count: >= 0.
    """
    rows_of_none, none = groups.codes[:0], strips.x[:0, 0]
    worst = CostedTriplets(rows_of_none, rows_of_none, rows_of_none, none, none, none)
    if count == 0:
        return worst
    for rows in groups.strips_taking_part(strips):
        distances = strips.distances(rows)
        positives, present = groups.positives(rows)
        d_ap = distances.gather(1, positives)
        d_an = negatives_only(distances, positives, rows, torch.inf)
        for place in range(positives.shape[1]):
            checkpoint()
            anchors = present[:, place].nonzero().squeeze(1)
            costs = triplet_costs(d_ap[anchors, place].unsqueeze(1), d_an[anchors], margin)
            costs.masked_fill_(torch.isinf(d_an[anchors]), -1.0)  # no negatives, and no hinge is below 0
            local, negatives = _candidates(costs, anchors + rows.start, worst, count)
            chosen = anchors[local]
            found = CostedTriplets(
                chosen + rows.start,
                positives[chosen, place],
                negatives,
                d_ap[chosen, place],
                d_an[chosen, negatives],
                costs[local, negatives],
            )
            worst = _merged(worst, found, len(groups.codes)).largest(count)
    return worst


def _candidates(costs: Tensor, anchors: Tensor, worst: CostedTriplets, count: int) -> tuple[Tensor, Tensor]:
    """Return which of the costs (R, N) may be among the `count` largest, besides the worst so far.

    Of equal costs the first `count` are enough, as they stand in order; a collapsed batch has nothing else.
    """
    full = len(worst.cost) == count
    least = worst.cost[-1] if full else costs.new_zeros(())
    if not costs.numel() or costs.amax() < least:
        return anchors[:0], anchors[:0]
    if not full or (costs > least).sum() > count:
        least = costs.flatten().topk(min(count, costs.numel())).values[-1].maximum(least)
    # A tie with the last of a full list wins by its rows, if at all.
    rivals = costs[anchors <= worst.anchor[-1]] if full and least == worst.cost[-1] else costs
    above, equal = (costs > least).nonzero(), (rivals == least).nonzero()[:count]
    local, negatives = torch.cat([above, equal]).unbind(1)
    return local, negatives


def _merged(one: CostedTriplets, other: CostedTriplets, rows: int) -> CostedTriplets:
    """Return the triplets of both in order of anchor, positive and negative."""
    both = CostedTriplets(*map(torch.cat, zip(one, other, strict=True)))
    return both.at(((both.anchor * rows + both.positive) * rows + both.negative).argsort())
