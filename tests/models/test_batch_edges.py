import itertools
import math
import re

import pytest
import torch

from models.distances import METRICS
from models.errors import NonFiniteError, OptionError, OverflowedError, ShapeError
from models.losses import batch_triplet_loss
from models.margins import Margin
from tests.models.inputs import rows

MININGS = ("all", "hard", "semi_hard")


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("labels", ["", "a", "ab", "aa", "aaaa", "abcd"])
def test_a_batch_without_triplets_gives_a_zero_with_gradient_zero(mining: str, labels: str) -> None:
    x = (rows(len(labels), dtype=torch.float32) * 1e37).requires_grad_()
    for margin in (0.2, "soft"):
        result = batch_triplet_loss(x, labels, mining=mining, margin=margin)
        assert (result.loss.item(), result.valid_triplets, result.fraction_active) == (0, 0, 0)
        assert result.skipped_anchors == len(labels)
        assert torch.autograd.grad(result.loss, x)[0].tolist() == torch.zeros_like(x).tolist()


def test_anchors_without_a_partner_are_counted_and_left_out() -> None:
    x = torch.tensor([[0.0], [1.0], [1.5], [9.0]])
    result = batch_triplet_loss(x, ["a", "a", "b", "c"], mining="hard", return_triplets=-1)
    assert result.skipped_anchors == 2
    assert [(t.anchor, t.positive, t.negative) for t in result.triplets] == [(0, 1, 2), (1, 0, 2)]
    assert result.loss.item() == pytest.approx((0 + 0.7) / 2)


@pytest.mark.parametrize("distance", [100.0, 1e4, 1e30])
@pytest.mark.parametrize("mining", MININGS)
def test_the_soft_margin_does_not_overflow(mining: str, distance: float) -> None:
    x = torch.tensor([[0.0], [distance], [0.0]], requires_grad=True)
    result = batch_triplet_loss(x, "aab", mining=mining, margin="soft", reduction="sum")
    assert result.loss.item() == pytest.approx(distance + math.log(2), rel=1e-6)
    assert torch.isfinite(torch.autograd.grad(result.loss, x)[0]).all()
    assert (result.easy, result.semi_hard, result.hard, result.active_triplets) == (1, 0, 1, 2)
    easy = batch_triplet_loss(x.detach().double(), [0, 1, 0], mining=mining, margin="soft", reduction="sum")
    assert easy.loss.item() == pytest.approx(2 * math.log1p(math.exp(-distance)), rel=1e-12)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize(("margin", "cost"), [(0.3, 0.3), ("soft", math.log(2))])
def test_a_collapsed_batch_is_named(mining: str, margin: Margin, cost: float) -> None:
    for scale in (1e-30, 1.0, 3e38):
        x = torch.full((6, 3), scale, requires_grad=True)
        result = batch_triplet_loss(x, "aabbcc", mining=mining, margin=margin)
        assert result.collapsed
        assert result.loss.item() == pytest.approx(cost)
        assert (torch.autograd.grad(result.loss, x)[0] == 0).all()


@pytest.mark.parametrize("name", METRICS)
def test_only_a_batch_at_one_point_is_collapsed(name: str) -> None:
    point = torch.tensor([0.2, 0.3, 0.5])
    other = torch.tensor([0.2001, 0.2999, 0.5]) if name != "cosine" else torch.tensor([0.5, 0.3, 0.2])
    labels = "aabbcc"
    x = point.repeat(6, 1)
    assert batch_triplet_loss(x, labels, distance=name).collapsed == (name != "cross_entropy")  # H(p) > 0
    for row in (0, 5):
        y = x.clone()
        y[row] = other if name != "kl_divergence" else other.roll(1)
        assert not batch_triplet_loss(y, labels, distance=name).collapsed
    assert not batch_triplet_loss(x[:1], "a", distance=name).collapsed


def test_collapse_is_measured_against_the_largest_norm() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 1e-6], [1.0, 0.5e-6], [1.0, 0.0]], dtype=torch.float64)
    for scale, name in itertools.product((1e-3, 1.0, 1e20), ("euclidean", "squared_euclidean")):
        assert batch_triplet_loss(x * scale, "aabb", distance=name).collapsed
        wider = x * scale * torch.tensor([1.0, 1.1], dtype=torch.float64)
        assert not batch_triplet_loss(wider, "aabb", distance=name).collapsed
    one_point = torch.full((3, 1), 1e200, dtype=torch.float64)
    for name in ("euclidean", "squared_euclidean"):  # whose squared norm is beyond float64
        assert batch_triplet_loss(one_point, "aab", distance=name).collapsed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reduction": "none"}, "return_triplets gives those of largest loss"),
        ({"return_triplets": -1}, "does not list every triplet"),
        ({"return_triplets": 1.5}, "return_triplets is -1"),
        ({"return_triplets": True}, "return_triplets is -1"),
        ({"margin": True}, "margin must be a finite number"),
        ({"reduction": ""}, "reduction is one of"),
        ({"distance": lambda x, y: x - y}, "only given triplets take a callable"),
        ({"return_triplets": -2, "mining": "hard"}, "return_triplets is -1"),
        ({"mining": "easy"}, "mining is one of all, hard, semi_hard"),
        ({"margin": 0.0}, "margin must be"),
        ({"margin": "hard"}, "margin must be"),
        ({"reduction": "max"}, "reduction is one of"),
        ({"distance": "frobenius"}, "whole matrices"),
        ({"distance": "kl_divergence", "normalize": True}, "compares distributions"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=re.escape(words)):
        batch_triplet_loss(rows(4), "aabb", **options)  # type: ignore[arg-type]


def test_inputs_that_do_not_fit_are_refused() -> None:
    x = rows(4, dtype=torch.float32)
    with pytest.raises(ShapeError, match="4 rows, 3 labels"):
        batch_triplet_loss(x, "aab")
    with pytest.raises(ShapeError, match="embeddings must have 2 dimensions"):
        batch_triplet_loss(x[0], "aabb")
    with pytest.raises(NonFiniteError, match="Row 2 of embeddings"):
        batch_triplet_loss(x.index_fill(0, torch.tensor([2]), math.nan), "aabb")
    with pytest.raises(OverflowedError):
        batch_triplet_loss(x * 1e30, "aabb", distance="squared_euclidean")
    with pytest.raises(OverflowedError, match="The loss"):
        batch_triplet_loss(torch.tensor([[0.0], [2e38], [0.0], [2e38]]), "aabb", reduction="sum")
