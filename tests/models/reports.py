"""Steps for a report of training, and a clock that the tests move."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from models.batch_losses import BatchLoss, batch_triplet_loss
from models.progress import Report

__all__ = ["LABELS", "Clock", "batch", "run", "take"]

LABELS = torch.arange(6).repeat_interleave(3)


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def batch(step: int, *, normalize: bool = False) -> tuple[BatchLoss, Tensor]:
    """Return another batch for each step, with its loss."""
    x = torch.randn(18, 4, generator=torch.Generator().manual_seed(step)) + 0.5
    return batch_triplet_loss(x, LABELS, normalize=normalize), x


def take(report: Report, step: int, **changes: Any) -> None:
    result, embeddings = batch(step)
    losses = {"triplet": result.loss, "identity": 1 / step}
    numbers = {"learning_rate": 0.5**step, "losses": losses, "gradient_norm": torch.tensor(1.5)}
    report.step(step, result, embeddings, LABELS, **{**numbers, **changes})


def run(report: Report, steps: Iterable[int], clock: Clock, seconds: float = 0.25) -> None:
    for step in steps:
        clock.seconds += seconds
        take(report, step)
