"""What is called a collapse, on batches that are one and on batches that are none."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.batch_losses import BatchLoss, batch_triplet_loss
from models.collapse import collapse_warning
from models.margins import Margin
from models.spread import measure_spread

LABELS = torch.arange(8).repeat_interleave(2)
POINT = torch.ones(16, 4)


def noise(scale: float, *, seed: int = 0) -> Tensor:
    return scale * torch.randn(16, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def separated(scale: float = 1.0) -> Tensor:
    """Return rows that are near their positive and far from all others, around the origin."""
    return scale * noise(1.0)[::2].repeat_interleave(2, dim=0) + 0.01 * scale * noise(1.0, seed=1)


def warn(
    embeddings: Tensor, *, done: float = 0.5, loss: float | None = None, standing: int = 0, **options: Any
) -> str | None:
    margin: Margin = options.setdefault("margin", 0.2)
    result: BatchLoss = batch_triplet_loss(embeddings, LABELS, **options)
    level = float(result.loss) if loss is None else loss
    spread = measure_spread(embeddings, LABELS)
    return collapse_warning(result, spread, loss=level, margin=margin, done=done, standing=standing)


@pytest.mark.parametrize("done", [0.0, 0.01, 0.9])
def test_one_point_is_told_of_at_any_time_once_it_stands(done: float) -> None:
    assert "at one point" in str(warn(POINT, done=done, standing=10))
    assert (warn(POINT, done=done, standing=9) is None) == (done < 0.25)


def test_one_direction_is_told_of_well_after_the_start() -> None:
    cone = torch.ones(16, 4) + noise(0.01)
    assert warn(cone, done=0.2) is None
    assert "mean cosine of two embeddings of the batch is 1.000" in str(warn(cone, done=0.25))


@pytest.mark.parametrize(("margin", "level"), [(0.3, "0.300"), ("soft", "0.693")])
@pytest.mark.parametrize("mining", ["hard", "semi_hard", "all"])
def test_a_loss_that_stays_at_the_margin_is_told_of(mining: str, margin: Margin, level: str) -> None:
    close = noise(1e-4)  # around the origin: directions of all kinds, and distances far below the margin
    message = warn(close, mining=mining, margin=margin)
    assert f"the loss stays at {level}, what a triplet costs with d_ap = d_an" in str(message)
    assert warn(close, mining=mining, margin=margin, done=0.1) is None


@pytest.mark.parametrize("reduction", ["mean", "mean_active"])
def test_a_loss_at_the_margin_by_chance_is_no_collapse(reduction: str) -> None:
    assert warn(separated(), loss=0.2, mining="hard", reduction=reduction) is None
    assert warn(separated(), loss=math.log(2), margin="soft") is None


def test_a_loss_elsewhere_is_no_collapse_whatever_the_distances() -> None:
    assert warn(noise(1.0), loss=0.3) is None
    assert warn(noise(1.0), loss=0.2) is not None


def test_a_sum_of_losses_has_no_level_to_stay_at() -> None:
    assert warn(noise(1e-4), loss=0.2, mining="hard", reduction="sum") is None


@pytest.mark.parametrize(
    ("mining", "other"),
    [
        ("hard", "with batch-all or semi-hard mining (--mining),"),
        ("semi_hard", "with batch-all mining (--mining),"),
        ("all", "with semi-hard mining (--mining),"),
    ],
)
def test_the_warning_says_what_else_to_try(mining: str, other: str) -> None:
    message = str(warn(POINT, mining=mining))
    assert message.endswith(f"{other} a lower --learning-rate, or a longer --warm-up.")
    assert "begin again (--fresh)" in message


def test_a_batch_without_positive_pairs_is_no_collapse() -> None:
    x, labels = noise(1.0), torch.arange(16)
    result = batch_triplet_loss(x, labels)
    spread = measure_spread(x, labels)
    assert collapse_warning(result, spread, loss=0.2, margin=0.2, done=0.5, standing=0) is None
