"""Batches large enough for the forms that small ones never reach, against float64 NumPy."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from models.batch_losses import BatchLoss
from models.losses import batch_triplet_loss
from tests.models import dense_oracle

pytestmark = pytest.mark.usefixtures("one_thread")

N, D = 600, 64
MININGS = ("all", "hard", "semi_hard")
FAST = ("euclidean", "squared_euclidean", "cosine")
COSTS = [*((name, False) for name in FAST), ("euclidean", True), ("cosine", True)]
MARGINS = {"euclidean": 1.5, "squared_euclidean": 9.0, "cosine": 0.2, "manhattan": 4.0, "chebyshev": 0.5}


def labelled(kind: str, n: int = N) -> Tensor:
    """Return labels: 4 of each; or unbalanced, with two large classes, many small ones and singletons."""
    if kind == "balanced":
        labels = torch.arange(n) // 4
    else:
        sizes = [n // 15, n // 30, *([7] * (n // 28)), *([2] * (n // 16))]
        repeated = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        labels = torch.cat([repeated, torch.arange(n - len(repeated)) + len(sizes)])
    return labels[torch.randperm(n, generator=torch.Generator().manual_seed(1))]


def batch(kind: str, n: int = N, d: int = D) -> tuple[Tensor, Tensor]:
    """Return float64 rows around their classes' centres, so that every class of triplets occurs."""
    labels, generator = labelled(kind, n), torch.Generator().manual_seed(0)
    centres = torch.randn(int(labels.max()) + 1, d, dtype=torch.float64, generator=generator)
    return 0.5 * centres[labels] + torch.randn(n, d, dtype=torch.float64, generator=generator), labels


def computed(
    x: Tensor, labels: Tensor, mining: str, margin: float | None, name: str = "euclidean"
) -> tuple[BatchLoss, Tensor]:
    leaf = x.clone().requires_grad_()
    result = batch_triplet_loss(
        leaf,
        labels,
        mining=mining,
        margin="soft" if margin is None else margin,
        distance=name,
        reduction="sum",
        return_triplets=-1 if mining != "all" else 0,
    )
    return result, torch.autograd.grad(result.loss, leaf)[0]


def mined(result: BatchLoss) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.array([(t.anchor, t.positive, t.negative) for t in result.triplets])


@pytest.mark.parametrize(("mining", "kind"), list(itertools.product(MININGS, ["balanced", "unbalanced"])))
@pytest.mark.parametrize(("name", "soft"), COSTS)
def test_float64_agrees_with_a_table_of_triplets(mining: str, kind: str, soft: bool, name: str) -> None:
    x, labels = batch(kind)
    margin = None if soft else MARGINS[name]
    expected = dense_oracle.batch(x.numpy(), labels.numpy(), mining, margin, name)
    result, gradient = computed(x, labels, mining, margin, name)
    assert (result.easy, result.semi_hard, result.hard) == expected[1:4]
    if mining == "all":
        assert min(expected.semi_hard, expected.hard) > 0 or soft
    else:
        assert np.array_equal(mined(result), expected.triplets)
    assert result.loss.item() == pytest.approx(expected.total, rel=1e-12)
    assert np.linalg.norm(gradient.numpy() - expected.gradient) <= 1e-11 * np.linalg.norm(expected.gradient)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("form", ["sorting"], indirect=True)
@pytest.mark.parametrize(("mining", "soft"), list(itertools.product(MININGS, [False, True])))
def test_the_form_for_many_positives_agrees_too(mining: str, soft: bool) -> None:
    x, labels = batch("unbalanced")
    x[100:140] = x[60:100]
    margin = None if soft else MARGINS["euclidean"]
    expected = dense_oracle.batch(x.numpy(), labels.numpy(), mining, margin)
    result, gradient = computed(x, labels, mining, margin)
    assert (result.easy, result.semi_hard, result.hard) == expected[1:4]
    assert result.loss.item() == pytest.approx(expected.total, rel=1e-12)
    assert np.linalg.norm(gradient.numpy() - expected.gradient) <= 1e-11 * np.linalg.norm(expected.gradient)


@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, ["manhattan", "chebyshev"])))
def test_metrics_without_a_matrix_product_agree_too(mining: str, name: str) -> None:
    x, labels = batch("unbalanced", n=300, d=16)
    expected = dense_oracle.batch(x.numpy(), labels.numpy(), mining, MARGINS[name], name)
    result, gradient = computed(x, labels, mining, MARGINS[name], name)
    assert (result.easy, result.semi_hard, result.hard) == expected[1:4]
    assert result.loss.item() == pytest.approx(expected.total, rel=1e-12)
    np.testing.assert_allclose(gradient.numpy(), expected.gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("mining", "kind"), list(itertools.product(MININGS, ["balanced", "unbalanced"])))
@pytest.mark.parametrize(("name", "soft"), COSTS)
def test_float32_stays_within_its_bounds(mining: str, kind: str, name: str, soft: bool) -> None:
    values, labels = batch(kind)
    single = values.float()
    x = single.double().numpy()
    margin = None if soft else dense_oracle.clear_margin(x, labels.numpy(), name, MARGINS[name])
    result, gradient = computed(single, labels, mining, margin, name)
    expected = dense_oracle.batch(x, labels.numpy(), mining, margin, name)
    largest = dense_oracle.distance_matrix(x, name).max() + (margin or 0.0)
    if mining != "all":  # where two rows are as near as makes no difference, either may be mined
        d, best = dense_oracle.distance_matrix(x, name), expected.triplets
        a, p, n = mined(result).T
        assert np.array_equal(a, best[:, 0])
        assert abs(d[a, p] - d[a, best[:, 1]]).max() <= 1e-6 * largest
        differ = n != best[:, 2]
        assert differ.mean() < 1e-3
        assert abs(d[a, n] - d[a, best[:, 2]])[~differ | (mining == "hard")].max() <= 1e-6 * largest
        expected = dense_oracle.of_triplets(x, mined(result), margin, name)
    else:
        assert result.valid_triplets == expected.formed
        assert soft or result.easy == expected.easy
        ties = dense_oracle.near_ties(x, labels.numpy(), name, 1e-6 * largest)
        assert abs(result.hard - expected.hard) <= ties < 1e-4 * expected.formed
    assert result.loss.dtype == torch.float32
    mean = result.loss.double().item() / result.valid_triplets
    assert abs(mean - expected.total / expected.formed) <= 1e-6 * largest
    assert np.linalg.norm(gradient.numpy() - expected.gradient) <= 1e-5 * np.linalg.norm(expected.gradient)


@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, [*FAST[:2], "manhattan"])))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64])
def test_ties_on_a_grid_are_counted_and_mined_exactly(mining: str, name: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 3, (N, 6), generator=generator)  # 600 of 729 points: duplicates and ties abound
    labels = labelled("unbalanced")
    expected = dense_oracle.batch(x.double().numpy(), labels.numpy(), mining, 1.0, name)
    values = x.to(dtype)
    result = batch_triplet_loss(
        values,
        labels,
        mining=mining,
        distance=name,
        margin=1.0,
        reduction="sum",
        return_triplets=-1 if mining != "all" else 0,
    )
    if name != "euclidean":  # in float32, fl(sqrt(2) + 1) is not the float64 bound
        assert (result.easy, result.semi_hard, result.hard) == expected[1:4]
        assert result.loss.item() == np.float32(expected.total)
    assert result.loss.item() == pytest.approx(expected.total, rel=1e-6)
    if mining != "all":
        assert np.array_equal(mined(result), expected.triplets)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_duplicates_and_near_rows_keep_their_digits(mining: str, offset: float) -> None:
    x, labels = batch("unbalanced")
    x = x + offset  # a matrix product alone would lose the near distances in the norms
    x[50:90] = x[10:50]
    x[90:130] = x[10:50] + 1e-3 * x[210:250] / 3
    x = x.float()
    exact = x.double().numpy()
    margin = dense_oracle.clear_margin(exact, labels.numpy(), "euclidean", 0.05)
    result, gradient = computed(x, labels, mining, margin)
    if mining == "all":
        expected = dense_oracle.batch(exact, labels.numpy(), mining, margin)
    else:
        expected = dense_oracle.of_triplets(exact, mined(result), margin, "euclidean")
    mean = result.loss.double().item() / result.valid_triplets
    largest = dense_oracle.distance_matrix(exact, "euclidean").max() + margin
    assert abs(mean - expected.total / expected.formed) <= 1e-6 * largest
    assert np.linalg.norm(gradient.numpy() - expected.gradient) <= 1e-5 * np.linalg.norm(expected.gradient)
    duplicate = batch_triplet_loss(x[[10, 50]].repeat(100, 1), torch.arange(200) // 4, mining=mining)
    assert duplicate.collapsed
    assert duplicate.loss.item() == pytest.approx(0.2)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_huge_and_tiny_scales_agree_at_this_size(mining: str, scale: float) -> None:
    x, labels = batch("unbalanced")
    expected = dense_oracle.batch(x.float().double().numpy(), labels.numpy(), mining, 1.5)
    scaled = (x.float().double() * scale).float()
    result = batch_triplet_loss(scaled, labels, mining=mining, margin=1.5 * scale, reduction="mean")
    assert result.loss.item() / scale == pytest.approx(expected.total / expected.formed, rel=1e-5)


@pytest.mark.parametrize("mining", MININGS)
def test_layout_does_not_matter_and_inputs_stay(mining: str) -> None:
    x, labels = batch("balanced")
    x = x.float()
    strided = x.t().contiguous().t()
    before, labels_before = strided.clone(), labels.clone()
    one, gradient = computed(x, labels, mining, 1.5)
    other, other_gradient = computed(strided, labels, mining, 1.5)
    assert one.loss == other.loss
    assert torch.equal(gradient, other_gradient)
    assert torch.equal(strided, before)
    assert torch.equal(labels, labels_before)
