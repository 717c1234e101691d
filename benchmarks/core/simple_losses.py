"""The losses as one writes them plainly in torch: what ours must agree with, and not be slower than.

Each leaves the gradient in x.grad and returns the loss. Every row has a positive and a negative.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "dense_batch_all",
    "dense_batch_hard",
    "dense_semi_hard",
    "sorted_batch_all",
    "streamed_batch_all",
]

# Of a tile's numbers: 4 MiB as float32, about the size that a core's cache still helps with.
_TILE = 1 << 20


def dense_batch_all(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-all by the N x N x N mask of the tutorials; mean over the active triplets."""
    distances = torch.cdist(x, x)
    same, positive = _masks(labels)
    costs = F.relu(distances[:, :, None] - distances[:, None, :] + margin)
    costs = costs * (positive[:, :, None] & ~same[:, None, :])
    loss = costs.sum() / (costs > 0).sum().clamp(min=1)
    loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
    return loss.detach()


def streamed_batch_all(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-all by tiles of (positive pairs x N); mean over the active triplets."""
    total, active = x.new_zeros((), dtype=torch.float64), 0
    positives = int(labels.bincount().max()) - 1
    for rows in torch.split(torch.arange(len(x), device=x.device), max(1, _TILE // (positives * len(x)))):
        distances = torch.cdist(x[rows], x)
        same = labels[rows, None] == labels
        positive = same.clone()
        positive[torch.arange(len(rows), device=x.device), rows] = False
        anchor, other = positive.nonzero().unbind(1)
        costs = F.relu(distances[anchor, other][:, None] - distances[anchor] + margin)
        costs = costs.masked_fill(same[anchor], 0.0)
        active += int((costs > 0).sum())
        part = costs.sum()
        part.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
        total += part.detach()
    return _mean(x, total, active)


def sorted_batch_all(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-all by sorting each anchor's negatives, with their prefix sums; mean over the active triplets."""
    total, active = x.new_zeros((), dtype=torch.float64), 0
    positives = int(labels.bincount().max()) - 1
    for rows in torch.split(torch.arange(len(x), device=x.device), max(1, _TILE // len(x))):
        distances = torch.cdist(x[rows], x)
        same = labels[rows, None] == labels
        positive = same.clone()
        positive[torch.arange(len(rows), device=x.device), rows] = False
        negatives = distances.masked_fill(same, torch.inf).sort(dim=1).values
        sums = F.pad(negatives.masked_fill(negatives.isinf(), 0.0).double().cumsum(1), (1, 0))
        # Where there are fewer positives than elsewhere, -1 is below every distance and costs nothing.
        bounds = distances.masked_fill(~positive, -1.0).topk(positives, dim=1).values + margin
        below = torch.searchsorted(negatives.detach(), bounds.detach())
        part = (below * bounds.double() - sums.gather(1, below)).sum()
        part.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
        active += int(below.sum())
        total += part.detach()
    return _mean(x, total, active)


def dense_batch_hard(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-hard by masks on the N x N distances; mean over the anchors."""
    distances = torch.cdist(x, x)
    same, positive = _masks(labels)
    farthest = distances.masked_fill(~positive, -torch.inf).argmax(1, keepdim=True)
    nearest = distances.masked_fill(same, torch.inf).argmin(1, keepdim=True)
    loss = F.relu(distances.gather(1, farthest) - distances.gather(1, nearest) + margin).mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
    return loss.detach()


def dense_semi_hard(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Semi-hard as TensorFlow Addons forms it, by the distances repeated N times; mean over the pairs.

    Source: tensorflow_addons/losses/triplet.py, triplet_semihard_loss, with its tiles as views.
    """
    distances = torch.cdist(x, x)
    same, positive = _masks(labels)
    farther = ~same[:, None, :] & (distances[:, None, :] > distances[:, :, None])  # (a, p, n)
    outside = distances[:, None, :].masked_fill(~farther, torch.inf).amin(2)
    inside = distances.masked_fill(same, -torch.inf).amax(1, keepdim=True)
    negatives = torch.where(farther.any(2), outside, inside)
    loss = F.relu(distances - negatives + margin)[positive].mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
    return loss.detach()


def _masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, N) whether two rows are of one identity; the same without the diagonal."""
    same = labels[:, None] == labels
    return same, same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)


def _mean(x: Tensor, total: Tensor, active: int) -> Tensor:
    assert x.grad is not None
    x.grad /= max(1, active)
    return (total / max(1, active)).to(x.dtype)
