"""The triplets of largest loss among all valid ones of a batch, in memory of a strip."""

import torch
from torch import Tensor

from models.interruption import checkpoint
from models.margins import CostedTriplets, Margin, triplet_costs
from models.tiles import Strips
from models.triplets import Groups, negatives_only

__all__ = ["worst_triplets"]

_TABLE_ELEMENTS = 2**19


def worst_triplets(strips: Strips, groups: Groups, margin: Margin, count: int) -> CostedTriplets:
    """Return the `count` valid triplets of largest cost, largest first; ties go to the lowest rows.

    A positive pair costs most with the anchor's nearest negative, which rules out nearly all pairs once the
    list is full: pairs are looked at in order, so that a later one must cost more to get in.

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
        most = triplet_costs(d_ap, d_an.amin(1, keepdim=True), margin).masked_fill_(~present, -1.0)
        pairs = present.nonzero()
        while True:
            checkpoint()
            full = len(worst.cost) == count
            least = worst.cost[-1] if full else none.new_tensor(-1.0)  # below any cost
            pairs = pairs[most[pairs[:, 0], pairs[:, 1]] > least]
            if not len(pairs):
                break
            length = max(1, _TABLE_ELEMENTS // d_an.shape[1])
            (anchors, places), pairs = pairs[:length].unbind(1), pairs[length:]
            costs = triplet_costs(d_ap[anchors, places].unsqueeze(1), d_an[anchors], margin)
            costs.masked_fill_(torch.isinf(d_an[anchors]), -1.0)  # these are no negatives
            pair, negatives = _above(costs, least, count)
            anchors, places = anchors[pair], places[pair]
            found = CostedTriplets(
                anchors + rows.start,
                positives[anchors, places],
                negatives,
                d_ap[anchors, places],
                d_an[anchors, negatives],
                costs[pair, negatives],
            )
            worst = CostedTriplets(*map(torch.cat, zip(worst, found, strict=True))).largest(count)
    return worst


def _above(costs: Tensor, least: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return where the `count` largest of the costs (C, N) are, if above `least`; maybe some more of them.

    Equal ones are in order, and of those that may be too many only the first are given.
    """
    found = (costs > least).nonzero()
    if len(found) > count:
        bar = costs.flatten().topk(count).values[-1]
        found = torch.cat([(costs > bar).nonzero(), (costs == bar).nonzero()[:count]])
    pairs, negatives = found.unbind(1)
    return pairs, negatives
