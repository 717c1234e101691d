"""docs/losses.md on TensorFlow Addons, torchreid and fast-reid: where we coincide, and where not."""

import itertools
import math

import pytest
import torch

from models.distances import pairwise
from models.losses import batch_triplet_loss
from models.margins import Margin
from tests.models import oracles
from tests.models import other_conventions as other
from tests.models.inputs import rows

PAIRED = ["aabb", "abcabc", "aaaabbbbcccc"]  # as many rows of every label
UNBALANCED = ["aabbb", "aabbccabb", "aaaaabb"]  # but at least two of each
SINGLETONS = ["aabbc", "aaabcd", "abacbd"]


def matrix(labels: str, metric: str = "euclidean", seed: int = 0) -> list[list[float]]:
    x = rows(len(labels), seed).tolist()
    return oracles.matrix(x, x, oracles.DISTANCES[metric])


def ours(
    labels: str, mining: str, margin: float | None, metric: str = "euclidean", reduction: str = "mean"
) -> float:
    chosen: Margin = "soft" if margin is None else margin
    x = rows(len(labels))
    return batch_triplet_loss(
        x, labels, mining=mining, margin=chosen, distance=metric, reduction=reduction
    ).loss.item()


def test_the_loops_give_the_numbers_of_the_documentation_of_addons() -> None:
    d = pairwise(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist()
    assert other.addons_semi_hard(d, [0, 0], 1.0) == pytest.approx(2.4142137)
    assert other.addons_hard(d, [0, 0], 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("labels", [*PAIRED, *UNBALANCED, *SINGLETONS])
@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
@pytest.mark.parametrize("margin", [0.2, 1.0, 3.0])
def test_semi_hard_is_that_of_addons_wherever_there_are_two_labels(
    labels: str, metric: str, margin: float
) -> None:
    expected = other.addons_semi_hard(matrix(labels, metric), labels, margin)
    assert ours(labels, "semi_hard", margin, metric) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("labels", "metric", "margin"),
    list(
        itertools.product(
            [*PAIRED, *UNBALANCED], ["euclidean", "squared_euclidean", "cosine"], [0.2, 1.0, None]
        )
    ),
)
def test_hard_is_that_of_addons_and_torchreid_where_every_anchor_has_partners(
    labels: str, metric: str, margin: float | None
) -> None:
    result = ours(labels, "hard", margin, metric)
    d = matrix(labels, metric)
    assert result == pytest.approx(other.addons_hard(d, labels, margin), rel=1e-12)
    if margin is not None:
        assert result == pytest.approx(other.reid_hard(d, labels, margin), rel=1e-12)


@pytest.mark.parametrize(("labels", "margin"), list(itertools.product(PAIRED, [0.3, 2.0, None])))
def test_hard_is_that_of_fast_reid_where_labels_have_as_many_rows(labels: str, margin: float | None) -> None:
    expected = other.fast_reid_hard(matrix(labels), labels, margin)
    assert ours(labels, "hard", margin) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("labels", SINGLETONS)
@pytest.mark.parametrize("margin", [2.0, None])
def test_their_anchors_without_a_positive_are_their_own_and_ours_take_no_part(
    labels: str, margin: float | None
) -> None:
    d = matrix(labels)
    alone = [a for a in range(len(labels)) if labels.count(labels[a]) == 1]
    singletons = [other.cost(0.0, min(d[a][n] for n in other.negatives(labels, a)), margin) for a in alone]
    theirs = other.addons_hard(d, labels, margin)
    total = ours(labels, "hard", margin, reduction="sum")
    assert theirs == pytest.approx((total + sum(singletons)) / len(labels), rel=1e-12)
    assert theirs != pytest.approx(ours(labels, "hard", margin), rel=1e-3)
    if margin is not None:  # there the anchor is at 1e-6 of itself, not at 0
        assert other.reid_hard(d, labels, margin) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("mining", ["hard", "semi_hard"])
def test_one_label_is_a_loss_to_addons_and_no_triplet_to_us(mining: str) -> None:
    d = matrix("aaaa")
    theirs = {
        "hard": other.addons_hard(d, "aaaa", 1.0),
        "semi_hard": other.addons_semi_hard(d, "aaaa", 1.0),
    }[mining]
    assert theirs >= 1.0
    result = batch_triplet_loss(rows(4), "aaaa", mining=mining, margin=1.0)
    assert (result.loss.item(), result.valid_triplets, result.skipped_anchors) == (0, 0, 4)


def test_no_positive_pair_is_no_number_to_addons_and_zero_to_us() -> None:
    assert math.isnan(other.addons_semi_hard(matrix("abcd"), "abcd", 1.0))
    assert ours("abcd", "semi_hard", 1.0) == 0


def test_an_unbalanced_batch_is_a_mixture_to_fast_reid_or_an_error() -> None:
    mixed = other.fast_reid_hard(matrix("aaabcd"), "aaabcd", 2.0)  # 9 + 1 + 1 + 1 positives: two for each
    assert mixed != pytest.approx(other.reid_hard(matrix("aaabcd"), "aaabcd", 2.0), rel=1e-3)
    assert mixed != pytest.approx(ours("aaabcd", "hard", 2.0), rel=1e-3)
    with pytest.raises(ValueError, match="equal parts"):
        other.fast_reid_hard(matrix("aaab"), "aaab", 2.0)


def test_equal_rows_are_at_zero_here_and_at_the_floor_there() -> None:
    x = torch.tensor([[0.0], [0.0], [1.0], [1.0]], dtype=torch.float64)
    d = pairwise(x).tolist()
    result = batch_triplet_loss(x, "aabb", mining="hard", margin=2.0).loss.item()
    assert result == 1.0
    assert other.reid_hard(d, "aabb", 2.0) == pytest.approx(1.0 + 1e-6, abs=1e-12)
