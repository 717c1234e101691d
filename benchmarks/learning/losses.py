"""The peers' losses in the convention of ours, as docs/losses.md has them side by side.

Each takes (B, D) embeddings, a leaf, and (B,) labels, leaves the gradient in the leaf and returns the loss.
Embeddings are brought to length 1, distances are Euclidean; batch-hard takes the mean over the anchors,
batch-all over the active triplets.
"""

from collections.abc import Callable

import torch.nn.functional as F
from pytorch_metric_learning import losses, miners, reducers
from pytorch_metric_learning.distances import LpDistance
from torch import Tensor

from benchmarks.core.simple_losses import dense_batch_all, dense_batch_hard
from benchmarks.learning.arms import PML, TORCH, Arm

__all__ = ["Step", "peer_step"]

Step = Callable[[Tensor, Tensor], Tensor]


def peer_step(arm: Arm, margin: float) -> Step:
    """Return the loss of a peer's arm, gradient included.

    Raises:
        KeyError: the arm is no peer's.
    """
    return {PML: _metric_learning, TORCH: _plain}[arm.by](arm.mining, margin)


def _metric_learning(mining: str, margin: float) -> Step:
    """Miner and loss of pytorch-metric-learning; without a miner its loss takes all triplets."""
    hard = mining == "hard"
    distance = LpDistance(normalize_embeddings=True)
    mine = miners.BatchHardMiner(distance=distance) if hard else None
    reducer = reducers.MeanReducer() if hard else reducers.AvgNonZeroReducer()
    loss_of = losses.TripletMarginLoss(
        margin=margin, distance=distance, triplets_per_anchor="all", reducer=reducer
    )

    def step(x: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = loss_of(x, labels, mine(x, labels) if mine else None)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
        return loss.detach()

    return step


def _plain(mining: str, margin: float) -> Step:
    form = dense_batch_hard if mining == "hard" else dense_batch_all
    return lambda x, labels: form(F.normalize(x), labels, margin)
