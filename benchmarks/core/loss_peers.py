"""Who computes the losses: ours, pytorch-metric-learning, and the plain forms."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pytorch_metric_learning import losses, miners, reducers
from pytorch_metric_learning.distances import LpDistance
from torch import Tensor

from benchmarks.core.batches import labelled_batch
from benchmarks.core.cases import MARGIN, Case
from benchmarks.core.simple_losses import (
    dense_batch_all,
    dense_batch_hard,
    dense_semi_hard,
    sorted_batch_all,
    streamed_batch_all,
)
from models.losses import batch_triplet_loss

__all__ = ["LOSS_PEERS", "Peer"]

# Computes the loss of x and labels and its gradient, x.grad.
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to compute a case.

    Attributes:
        name: as the tables have it.
        prepare: (case, device) -> a call without arguments, which computes the case once and returns the
            loss or the distances.
        needs: about how many bytes a case takes, where that may be too many.
        device: where it computes, if not where the run is.
    """

    name: str
    prepare: Callable[[Case, str], Callable[[], object]]
    needs: Callable[[Case], float] = lambda _: 0.0
    device: str = ""


def _of_step(step: Step) -> Callable[[Case, str], Callable[[], object]]:
    def prepare(case: Case, device: str) -> Callable[[], object]:
        x, labels = labelled_batch(case, device)
        x.requires_grad_()

        def call() -> float:
            x.grad = None
            return float(step(x, labels))

        return call

    return prepare


def _ours(mining: str) -> Step:
    def step(x: Tensor, labels: Tensor) -> Tensor:
        loss = batch_triplet_loss(x, labels, mining=mining, margin=MARGIN).loss
        loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
        return loss.detach()

    return step


def _plain(form: Callable[[Tensor, Tensor, float], Tensor]) -> Step:
    return lambda x, labels: form(x, labels, MARGIN)


def _pml(miner: Callable[[LpDistance], torch.nn.Module] | None = None, *, mean: bool = False) -> Step:
    """Return a step of pytorch-metric-learning; its own mean is over the triplets whose loss is not 0."""
    distance = LpDistance(normalize_embeddings=False)
    reducer = reducers.MeanReducer() if mean else None
    loss_of = losses.TripletMarginLoss(
        margin=MARGIN, distance=distance, triplets_per_anchor="all", reducer=reducer
    )
    mine = miner(distance) if miner else None

    def step(x: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = loss_of(x, labels, mine(x, labels) if mine else None)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
        return loss.detach()

    return step


def _triplets(case: Case) -> float:
    return float(case.n) * (case.k - 1) * (case.n - case.k)


def _of_all_triplets(case: Case) -> float:
    """Estimate pytorch-metric-learning's memory.

    Three int64 indices a triplet, twice while they are put together or with distances and gradients at them;
    where N^3 < 2^31, a mask of N^3 bytes beside the first of these.
    """
    mask = float(case.n) ** 3 if case.n**3 < 2**31 else 0.0
    return max(mask + 24 * _triplets(case), 50 * _triplets(case))


LOSS_PEERS: dict[str, tuple[Peer, ...]] = {
    "batch_all": (
        Peer("Lookalike", _of_step(_ours("all"))),
        Peer("PML", _of_step(_pml()), _of_all_triplets),
        Peer("dense mask", _of_step(_plain(dense_batch_all)), lambda case: 18.0 * case.n**3),
        Peer("streamed pairs", _of_step(_plain(streamed_batch_all))),
        Peer("plain sorted", _of_step(_plain(sorted_batch_all))),
    ),
    "batch_hard": (
        Peer("Lookalike", _of_step(_ours("hard"))),
        Peer(
            "PML",
            _of_step(_pml(lambda distance: miners.BatchHardMiner(distance=distance), mean=True)),
            lambda case: 30.0 * case.n**2,
        ),
        Peer("dense", _of_step(_plain(dense_batch_hard)), lambda case: 16.0 * case.n**2),
    ),
    "semi_hard": (
        Peer("Lookalike", _of_step(_ours("semi_hard"))),
        Peer(
            "PML (other definition)",
            _of_step(_pml(lambda distance: miners.TripletMarginMiner(MARGIN, "semihard", distance=distance))),
            _of_all_triplets,
        ),
        Peer("TF-Addons' form", _of_step(_plain(dense_semi_hard)), lambda case: 15.0 * case.n**3),
    ),
}
