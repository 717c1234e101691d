import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models import comparisons, triplets
from models.distances import pairwise
from models.errors import OptionError, ShapeError
from models.formulas import Metric
from models.tiles import Strips
from models.triplets import MINERS, Groups, Labels, count_classes, encode_labels
from tests.models import oracles

EUCLIDEAN = Metric("euclidean")

BATCHES = [
    "aabbc",
    "aaaaab",
    "abcabcaab",
    "aaaa",
    "abcd",
    "ab",
    "aa",
    "a",
    "",
]


def grid_rows(n: int, seed: int) -> Tensor:
    """Return rows on a small grid: many exact ties and duplicates."""
    return torch.randint(0, 3, (n, 2), generator=torch.Generator().manual_seed(seed)).float()


def mined_from(x: Tensor, labels: str, mining: str, metric: Metric) -> list[tuple[int, int, int]]:
    mined = MINERS[mining](Strips(x, x, metric), Groups(encode_labels(labels)))
    d = pairwise(x, metric=metric)
    a, p, n = mined.triplets
    assert torch.equal(mined.d_ap, d[a, p])
    assert torch.equal(mined.d_an, d[a, n])
    return list(zip(a.tolist(), p.tolist(), n.tolist(), strict=True))


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (["b", "a", "b"], [0, 1, 0]),
        ([("x", 1), None, ("x", 1)], [0, 1, 0]),
        ([7, "7", 7], [0, 1, 0]),
        (torch.tensor([9, -4, 9]), [1, 0, 1]),
        (torch.tensor([3, 1, 3], dtype=torch.uint8), [1, 0, 1]),
        (np.array([2**40, 5, 2**40]), [0, 1, 0]),
        (list(torch.tensor([5, 2, 5])), [0, 1, 0]),
        ([], []),
    ],
)
def test_equal_labels_get_equal_dense_codes(labels: Labels, codes: list[int]) -> None:
    encoded = encode_labels(labels)
    assert encoded.dtype == torch.int64
    assert encoded.tolist() == codes


def test_another_number_of_labels_is_refused_with_both() -> None:
    with pytest.raises(ShapeError, match="3 rows, 2 labels") as error:
        encode_labels(["a", "b"], expected=3)
    assert (error.value.expected, error.value.got) == (3, 2)
    with pytest.raises(ShapeError, match="1 dimension, not 2"):
        encode_labels(torch.zeros(2, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.tensor([1.0, 2.0]), "float32"),
        ([1, [2]], "Label 1 is a list"),
        (["a", math.nan], "Label 1 is NaN"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(labels: Labels, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        encode_labels(labels)


def test_an_anchor_takes_part_with_a_positive_and_a_negative() -> None:
    assert Groups(encode_labels("aabac")).taking_part.tolist() == [True, True, False, True, False]
    assert Groups(encode_labels("aaa")).taking_part.tolist() == [False] * 3
    assert Groups(encode_labels("")).taking_part.tolist() == []


def test_the_classes_meet_at_their_bounds() -> None:
    d_ap = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0])
    d_an = torch.tensor([1.5, torch.nextafter(torch.tensor(1.5), torch.tensor(0.0)), 1.0, 0.5, 2.0])
    assert count_classes(d_ap, d_an, 0.5).tolist() == [2, 1, 2]
    assert count_classes(d_ap, d_an, 0.0).tolist() == [4, 0, 1]


def test_the_threshold_rounds_as_the_distances_do() -> None:
    d_ap, margin = torch.tensor([1.0]), 1e-9  # 1 + 1e-9 is 1 in float32: no room for a semi-hard triplet
    assert count_classes(d_ap, d_ap, margin).tolist() == [1, 0, 0]
    assert count_classes(d_ap.double(), d_ap.double(), margin).tolist() == [0, 0, 1]


@pytest.mark.parametrize("sorting", [False, True])
@pytest.mark.parametrize("elements", [1, 7, 2**20])
@pytest.mark.parametrize("labels", BATCHES)
@pytest.mark.parametrize("mining", ["hard", "semi_hard"])
def test_miners_find_what_a_loop_finds(
    mining: str, labels: str, elements: int, sorting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", elements)
    if sorting:
        monkeypatch.setattr(triplets, "_SORTING_PAYS", 0)
    for seed in range(3):
        x = grid_rows(len(labels), seed)
        expected = oracles.batch_losses(pairwise(x).tolist(), labels, mining, 0.2).triplets
        assert mined_from(x, labels, mining, EUCLIDEAN) == expected


def test_miners_follow_the_direction_of_an_asymmetric_metric() -> None:
    x = torch.rand(8, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    d = pairwise(x, metric="kl_divergence")
    assert not torch.equal(d, d.t())
    for mining in MINERS:
        expected = oracles.batch_losses(d.tolist(), "aabbccab", mining, 0.2).triplets
        assert mined_from(x, "aabbccab", mining, Metric("kl_divergence")) == expected
