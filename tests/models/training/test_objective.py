"""The weighted sum of the two losses, against their definitions."""

import math

import pytest
import torch
from torch import nn

from models.errors import NonFiniteError
from models.losses import batch_triplet_loss
from models.training.objective import Objective
from tests.models.training.small import CLASSES, options

LABELS = torch.arange(12) // 3


def embeddings() -> torch.Tensor:
    return torch.randn(12, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def smoothed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> float:
    """Return the mean over the rows of -sum q ln p, q = 1 - s on the label and s / C more on every class."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for number, value in enumerate(row):
            share = smoothing / len(row) + (1 - smoothing) * (number == label)
            total -= share * (value - log_sum)
    return total / len(logits)


def test_the_total_is_the_weighted_sum_and_the_classifier_sees_what_the_neck_gives() -> None:
    torch.manual_seed(0)
    neck = nn.BatchNorm1d(8)
    objective = Objective(
        options(triplet_weight=0.3, id_weight=0.7, label_smoothing=0.2), neck, CLASSES
    ).double()
    x = embeddings()
    losses = objective(x, LABELS)
    normalised = (x - x.mean(dim=0)) / (x.var(dim=0, unbiased=False) + neck.eps).sqrt()
    assert objective.classifier is not None
    identity = smoothed_cross_entropy(normalised @ objective.classifier.weight.T, LABELS, 0.2)
    triplet = float(batch_triplet_loss(x, LABELS, normalize=True).loss)
    assert float(losses.parts["identity"]) == pytest.approx(identity)
    assert float(losses.parts["triplet"]) == pytest.approx(triplet)
    assert losses.total.item() == pytest.approx(0.3 * triplet + 0.7 * identity)


def test_without_an_identity_loss_there_is_no_classifier() -> None:
    objective = Objective(options(id_weight=0.0), nn.Identity(), CLASSES)
    assert list(objective.parameters()) == []
    losses = objective(embeddings(), LABELS)
    assert losses.total == losses.triplet.loss
    assert losses.parts.keys() == {"triplet"}


def test_the_neck_learns_its_statistics_without_an_identity_loss_too() -> None:
    neck = nn.BatchNorm1d(8).double()
    Objective(options(id_weight=0.0), neck, CLASSES)(embeddings() + 5, LABELS)
    assert float(neck.running_mean.mean()) > 0.3  # type: ignore[union-attr]


def test_diverged_embeddings_are_refused() -> None:
    x = embeddings()
    x[3, 1] = float("nan")
    with pytest.raises(NonFiniteError):
        Objective(options(), nn.Identity(), CLASSES).double()(x, LABELS)
