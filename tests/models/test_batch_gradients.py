"""Every mining, margin and metric against finite differences; and gradients where a slope has no limit."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from models.distances import METRICS
from models.losses import batch_triplet_loss, triplet_margin_loss
from models.margins import Margin
from tests.models.inputs import DISTRIBUTIONS, FORMS_OF_FLOAT64, metric_named, rows, rows_for

pytestmark = pytest.mark.usefixtures("one_thread")

MININGS = ("all", "hard", "semi_hard")
SLOPED = [name for name in METRICS if name != "hamming"]  # a step function has no slope
NORMALISED = [name for name in SLOPED if name not in DISTRIBUTIONS]


def in_domain(x: Tensor, name: str) -> Tensor:
    """Return rows of the metric's domain that depend smoothly on any x."""
    return x.softmax(1) if name in DISTRIBUTIONS else x


@pytest.mark.parametrize(
    ("mining", "margin", "name"), list(itertools.product(MININGS, [0.3, "soft"], SLOPED))
)
def test_batches_of_every_metric(mining: str, margin: Margin, name: str) -> None:
    def loss(x: Tensor) -> Tensor:
        return batch_triplet_loss(
            in_domain(x, name), "aabbbca", mining=mining, margin=margin, distance=metric_named(name)
        ).loss

    x = rows(7, seed=3).requires_grad_()
    assert torch.autograd.grad(loss(x), x)[0].abs().sum() > 0
    assert torch.autograd.gradcheck(loss, (x,))


@pytest.mark.usefixtures("form")
@FORMS_OF_FLOAT64
@pytest.mark.parametrize(
    ("mining", "margin", "name"),
    list(itertools.product(MININGS, [0.3, "soft"], ["euclidean", "squared_euclidean", "cosine"])),
)
def test_every_form_of_the_computation(mining: str, margin: Margin, name: str) -> None:
    def loss(x: Tensor) -> Tensor:
        return batch_triplet_loss(x, "ababcb", mining=mining, margin=margin, distance=name).loss

    x = rows(6, seed=2)
    x[1] = x[0] + 1e-2  # near enough for the pass over near pairs, far enough for the differences
    assert torch.autograd.gradcheck(loss, (x.requires_grad_(),))


@pytest.mark.parametrize(
    ("mining", "name", "reduction"),
    [
        (mining, name, reduction)
        for mining, name in itertools.product(MININGS, ["euclidean", "cosine", "chebyshev"])
        for reduction in ("sum", "mean", "mean_active", "none")
        if (mining, reduction) != ("all", "none")
    ],
)
def test_normalised_batches_of_every_reduction(mining: str, name: str, reduction: str) -> None:
    def loss(x: Tensor) -> Tensor:
        return batch_triplet_loss(
            x,
            "aabbca",
            mining=mining,
            margin=0.4,
            distance=metric_named(name),
            normalize=True,
            reduction=reduction,
        ).loss

    assert torch.autograd.gradcheck(loss, (rows(6, seed=1).requires_grad_(),))


@pytest.mark.parametrize("name", SLOPED)
@pytest.mark.parametrize("options", [{}, {"swap": True, "alpha": 0.1, "reduction": "mean_active"}])
def test_given_triplets_of_every_metric(name: str, options: dict[str, Any]) -> None:
    def loss(*given: Tensor) -> Tensor:
        inside = (in_domain(x, name) for x in given)
        return triplet_margin_loss(*inside, margin=0.5, distance=metric_named(name), **options)

    assert torch.autograd.gradcheck(loss, tuple(rows(4, seed).requires_grad_() for seed in range(3)))


@pytest.mark.parametrize(
    ("mining", "margin", "name"), list(itertools.product(MININGS, [0.3, "soft"], METRICS))
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicates_across_labels_have_finite_gradients(
    mining: str, margin: Margin, name: str, dtype: torch.dtype
) -> None:
    x = rows_for(name, 8).to(dtype)
    x[[2, 3, 6]] = x[0].clone()
    x.requires_grad_()
    result = batch_triplet_loss(x, "aabbccab", mining=mining, margin=margin, distance=metric_named(name))
    gradient = torch.autograd.grad(result.loss, x)[0]
    assert gradient.dtype == dtype
    assert torch.isfinite(gradient).all()
    assert (gradient == 0).all() == (name == "hamming")


@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, NORMALISED)))
def test_a_triplet_exactly_at_its_hinge_pulls_nothing(mining: str, name: str) -> None:
    # On a line every metric but the cosine is exact here: d_ap = 1, d_an = 2 (squared: 1 and 4).
    x = torch.tensor([[0.0], [1.0], [-2.0]], dtype=torch.float64)
    margin = 1.0
    if name == "squared_euclidean":
        margin = 3.0
    if name == "cosine":
        x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], dtype=torch.float64)
    x.requires_grad_()
    result = batch_triplet_loss(
        x, "aab", mining=mining, margin=margin, distance=metric_named(name), reduction="sum"
    )
    of_anchor_1 = 1.0 if name == "cosine" else 0.0  # its positive and its negative are as near as each other
    assert result.loss.item() == of_anchor_1
    gradient = torch.autograd.grad(result.loss, x)[0]
    assert name == "cosine" or (gradient == 0).all()
    assert (result.easy, result.hard) == ((1, 1) if name == "cosine" else (2, 0))
