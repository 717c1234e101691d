"""Batch-all: every valid triplet of a batch, and neither N x N x N nor N x N numbers.

For a hinge the triplets need not be formed. With t = d_ap + margin, a positive pulls once for each negative
with d_an < t, and a negative is pushed once for each positive with t > d_an: two counts, of which loss,
classes and gradient follow. A strip of anchors is counted in one of two ways, whichever is faster for its
number of positives: a pass over the strip for each positive, O(N^2 P), or a sort of the negatives and a
search of the positives among them, O(N^2 log N). The soft margin has no such counts, and takes passes.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.comparisons import Gradients
from models.interruption import checkpoint
from models.margins import Margin
from models.tiles import Strips
from models.triplets import Groups, negatives_only

__all__ = ["batch_all_sum"]

# Positives of an anchor from which on sorting its negatives beats a pass over them for each (decision 6).
_SORTING_PAYS = 160


class _Pushes(NamedTuple):
    """What the triplets of a strip do to its distances.

    Attributes:
        cost: () float64, their summed cost.
        pulled: (R, P), dL/dd_ap of each positive.
        pushed: (R, N), -dL/dd_an of each row.
        active: () int64, triplets with d_an < d_ap + margin (under the soft margin, < d_ap).
        hard: () int64, those of them with d_an <= d_ap.
    """

    cost: Tensor
    pulled: Tensor
    pushed: Tensor
    active: Tensor
    hard: Tensor


def batch_all_sum(x: Tensor, strips: Strips, groups: Groups, margin: Margin) -> tuple[Tensor, Tensor]:
    """Return the summed cost of every valid triplet, and their classes.

    Args:
        x: (N, D), prepared.
        strips: x against itself.
        groups: its rows by label.
        margin: > 0, or "soft".

    Returns:
        The sum, () float64, differentiable once; easy, semi-hard and hard, (3,) int64.
    """
    if not torch.is_grad_enabled():
        x = x.detach()
    total, counts = _BatchAll.apply(x, strips, groups, margin)  # type: ignore[no-untyped-call]  # torch has not typed it
    return total, counts


class _BatchAll(torch.autograd.Function):
    """x (N, D) -> sum (), counts (3,); the gradient is formed with them, as the counts are at hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strips: Strips, groups: Groups, margin: Margin) -> tuple[Tensor, Tensor]:
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        active, hard = (torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(2))
        gradient = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        for rows in groups.strips_taking_part(strips):
            distances = strips.distances(rows)
            positives, present = groups.positives(rows)
            pushes = _pushes(distances, positives, present, rows, margin)
            total += pushes.cost
            active += pushes.active
            hard += pushes.hard
            if gradient is not None and pushes.cost > 0:
                slopes = pushes.pushed.neg_().scatter_add_(1, positives, pushes.pulled)
                strips.pull(rows, distances, slopes, Gradients(gradient, gradient))
        counts = torch.stack([groups.valid_triplets - active, active - hard, hard])
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(counts)
        return total, counts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None


def _pushes(distances: Tensor, positives: Tensor, present: Tensor, rows: slice, margin: Margin) -> _Pushes:
    """Count what the positives (R, P) pull and the negatives are pushed, in a strip of distances (R, N)."""
    d_ap = distances.gather(1, positives)
    d_an = negatives_only(distances.clone(), positives, rows, torch.inf)
    if margin == "soft":
        return _softly(d_ap, d_an, present)
    reach = (d_ap + margin).masked_fill_(~present, -torch.inf)
    # fl(d_ap + margin) may round to d_ap itself; then d_an = d_ap is easy.
    closer = torch.nextafter(d_ap, d_ap.new_tensor(torch.inf)).minimum(reach)
    count = _count_by_sorting if reach.shape[1] > _SORTING_PAYS else _count_by_passes
    pulled, pushed, hard = count(d_an, reach, closer)
    # sum (t - d_an) over the active, about the row's largest t, so that little cancels.
    farthest = reach.amax(1, keepdim=True)
    cost = torch.sub(farthest, d_an, out=d_an).relu_().mul_(pushed).sum(dtype=torch.float64)
    short = (farthest.double() - reach.double()).masked_fill_(~present, 0.0)
    return _Pushes(
        cost - (short * pulled).sum(), pulled, pushed, pulled.sum(dtype=torch.float64).long(), hard
    )


def _count_by_passes(d_an: Tensor, reach: Tensor, closer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, in d_an (R, N), what is below each of `reach` (R, P), and in all below each of `closer` (R, P).

    Returns:
        (R, P), how many of a row's d_an are below each reach; (R, N), how many reaches are above each d_an;
        () int64, how many d_an are below each `closer`, summed. Floats hold these integers exactly.
    """
    # Floats as truth values: on a CPU they are compared and added several times faster than booleans.
    below, pushed = torch.empty_like(d_an), torch.zeros_like(d_an)
    pulled, hard = [], []
    for reaching, close in zip(reach.unbind(1), closer.unbind(1), strict=True):
        checkpoint()
        torch.lt(d_an, reaching.unsqueeze(1), out=below)
        pulled.append(below.sum(1))
        pushed += below
        torch.lt(d_an, close.unsqueeze(1), out=below)
        hard.append(below.sum(1))
    return torch.stack(pulled, 1), pushed, torch.stack(hard).sum(dtype=torch.float64).long()


def _count_by_sorting(d_an: Tensor, reach: Tensor, closer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count the same as `_count_by_passes`; the time hardly depends on P."""
    ordered, columns = d_an.sort(1)
    pulled = torch.searchsorted(ordered, reach)
    hard = torch.searchsorted(ordered, closer).sum()
    # The i-th nearest is pushed by every reach with more than i below it: all but those that end before.
    ends = torch.zeros_like(d_an).scatter_add_(1, pulled.clamp(max=d_an.shape[1] - 1), torch.ones_like(reach))
    pushed = torch.empty_like(d_an).scatter_(1, columns, reach.shape[1] - ends.cumsum_(1))
    return pulled.to(d_an.dtype), pushed, hard


def _softly(d_ap: Tensor, d_an: Tensor, present: Tensor) -> _Pushes:
    """Sum ln(1 + exp(d_ap - d_an)) over a strip, a pass for each place of a positive."""
    cost = torch.zeros((), dtype=torch.float64, device=d_ap.device)
    closer = torch.zeros_like(cost)
    pulled, pushed = torch.zeros_like(d_ap), torch.zeros_like(d_an)
    for place in range(d_ap.shape[1]):
        checkpoint()
        rows = present[:, place].nonzero().squeeze(1)
        everyone = len(rows) == len(d_an)
        # Beyond 40 the softplus is its argument to the last digit, in float64 too.
        excess = d_ap[rows, place].unsqueeze(1) - (d_an if everyone else d_an[rows])
        cost += F.softplus(excess, threshold=40).sum(dtype=torch.float64)
        closer += (excess > 0).sum()
        share = excess.sigmoid_()
        pulled[rows, place] = share.sum(1)
        if everyone:
            pushed += share
        else:
            pushed.index_add_(0, rows, share)
    return _Pushes(cost, pulled, pushed, closer.long(), closer.long())
