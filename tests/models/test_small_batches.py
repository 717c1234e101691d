"""The form for small float32 batches, explicitly: it answers the usual batch, and declines what it cannot."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models import small_batches
from models.batch_losses import BatchLoss
from models.errors import DomainError, InterruptedWorkError, NonFiniteError, OptionError, ShapeError
from models.interruption import interruptible
from models.losses import batch_triplet_loss
from tests.models import dense_oracle
from tests.models.inputs import rows

pytestmark = pytest.mark.usefixtures("one_thread")

MININGS = ("all", "hard")
LABELS = {
    "two of each": torch.arange(64) // 2,
    "four of each": torch.arange(96) % 24,
    "many": torch.arange(256) // 4,
    "unbalanced": torch.tensor([5] * 9 + [-3] * 2 + [2**40] * 4 + [0] * 3).repeat(2),
}
ALONE = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])  # the last has no positive


def batch(labels: Tensor, d: int = 32, seed: int = 0) -> Tensor:
    """Return float32 rows around their classes' centres, so that every class of triplets occurs."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.unique(labels, return_inverse=True)[1]
    centres = torch.randn(int(codes.max()) + 1, d, generator=generator)
    return 0.7 * centres[codes] + torch.randn(len(labels), d, generator=generator)


def answered(x: Tensor, labels: Tensor, mining: str, *, normalize: bool = False, margin: float = 0.3) -> bool:
    """Return whether the form takes the batch, and does not leave it to the general one."""
    if not small_batches.is_small(x):
        return False
    options: dict[str, Any] = {"mining": mining, "margin": margin, "normalize": normalize}
    return small_batches.small_batch_sum(x.float(), labels, **options) is not None


def facts(result: BatchLoss) -> tuple[object, ...]:
    names = ("mining", "reduction", "easy", "semi_hard", "hard", "active_triplets", "skipped_anchors")
    return (*(getattr(result, name) for name in names), result.collapsed, result.triplets, result.loss.dtype)


def general(x: Tensor, labels: Any, **options: Any) -> tuple[BatchLoss, Tensor]:
    """Return what the general form makes of a batch, and its gradient."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_batches, "_MOST_ROWS", 0)
        return with_gradient(x, labels, **options)


def with_gradient(x: Tensor, labels: Any, **options: Any) -> tuple[BatchLoss, Tensor]:
    leaf = x.detach().clone().requires_grad_()
    result = batch_triplet_loss(leaf, labels, **options)
    return result, torch.autograd.grad(result.loss, leaf)[0]


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_active"])
@pytest.mark.parametrize(
    ("mining", "kind", "normalize"), list(itertools.product(MININGS, LABELS, [False, True]))
)
def test_it_agrees_with_a_table_of_triplets_in_float64(
    mining: str, kind: str, normalize: bool, reduction: str
) -> None:
    labels = LABELS[kind]
    x = batch(labels)
    given = x.double().requires_grad_()
    compared = F.normalize(given) if normalize else given
    exact = compared.detach().numpy()
    margin = dense_oracle.clear_margin(exact, labels.numpy(), "euclidean", 0.3 if normalize else 2.0)
    expected = dense_oracle.batch(exact, labels.numpy(), mining, margin)
    options: dict[str, Any] = {"mining": mining, "margin": margin, "normalize": normalize}
    result, gradient = with_gradient(x, labels, **options, reduction=reduction)
    assert answered(x, labels, mining, normalize=normalize, margin=margin)
    assert (result.easy, result.semi_hard, result.hard) == expected[1:4]
    active = expected.semi_hard + expected.hard
    assert result.active_triplets == active > 0
    assert result.skipped_anchors == 0
    count = {"sum": 1, "mean": expected.formed, "mean_active": active}[reduction]
    largest = dense_oracle.distance_matrix(exact, "euclidean").max() + margin
    assert abs(result.loss.double().item() * count - expected.total) <= 1e-6 * largest * expected.formed
    slopes = torch.from_numpy(expected.gradient) / count
    (exact_gradient,) = torch.autograd.grad(compared, given, slopes)
    assert (gradient - exact_gradient).norm() <= 1e-6 * exact_gradient.norm()


@pytest.mark.parametrize(("mining", "normalize"), list(itertools.product(MININGS, [False, True])))
@pytest.mark.parametrize("kind", LABELS)
def test_the_result_is_that_of_the_general_form(mining: str, normalize: bool, kind: str) -> None:
    labels = LABELS[kind]
    x = batch(labels, seed=1)
    options: dict[str, Any] = {"mining": mining, "margin": 0.3, "normalize": normalize}
    (one, gradient), (other, expected) = with_gradient(x, labels, **options), general(x, labels, **options)
    assert facts(one) == facts(other)
    assert one.loss.item() == pytest.approx(other.loss.item(), rel=1e-6)
    assert (gradient - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("mining", MININGS)
def test_ties_and_bounds_are_those_of_the_general_form(mining: str) -> None:
    # On the corners of a box distances are exact, and so are ties, d_an = d_ap and d_an = d_ap + margin.
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 3.0])] * 2, torch.tensor([0.0, 4.0]))
    labels = torch.tensor([0, 1, 0, 1, 2, 2, 0, 1])
    for margin in (1.0, 2.0, 1e-9):
        options: dict[str, Any] = {"mining": mining, "margin": margin, "reduction": "sum"}
        one, gradient = with_gradient(corners, labels, **options)
        other, expected = general(corners, labels, **options)
        assert answered(corners, labels, mining, margin=margin)
        assert facts(one) == facts(other)
        assert one.loss.item() == pytest.approx(other.loss.item(), rel=1e-6)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
        assert mining == "hard" or (one.easy > 0 and one.hard > 0)


def test_batch_all_takes_anchors_without_a_partner_and_batches_without_a_triplet() -> None:
    x = batch(ALONE)
    assert answered(x, ALONE, "all")
    one, _ = with_gradient(x, ALONE)
    assert facts(one) == facts(general(x, ALONE)[0])
    assert one.skipped_anchors == 1
    for labels in (torch.zeros(8, dtype=torch.int64), torch.arange(8)):
        assert answered(x, labels, "all")
        result, gradient = with_gradient(x, labels)
        assert (result.loss.item(), result.valid_triplets, result.skipped_anchors) == (0, 0, 8)
        assert not gradient.any()


def test_what_it_declines_has_the_general_result() -> None:
    labels = LABELS["unbalanced"]
    x = batch(labels)
    point, near = x.clone(), x.clone()
    point[:] = x[0]
    near[labels == 5] = x[0] + 1e-5 * x[labels == 5]
    cases = [(point, labels), (near, labels), (x * 1e30, labels), (x * 1e-30, labels), (x, labels * 0)]
    cases += [(batch(ALONE), ALONE), (x, torch.arange(len(x)))]
    for given, codes in cases:
        assert not answered(given, codes, "hard")
        for mining in MININGS:
            (one, gradient), (other, expected) = (
                form(given, codes, mining=mining) for form in (with_gradient, general)
            )
            assert facts(one) == facts(other)
            assert one.loss.item() == pytest.approx(other.loss.item(), rel=1e-6)
            torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    assert batch_triplet_loss(point, labels).collapsed


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("mining", MININGS)
def test_duplicates_that_are_mined_are_at_exactly_0(mining: str, normalize: bool) -> None:
    labels = torch.arange(16) // 4
    x = batch(labels)
    x[[4, 9]] = x[0].clone()
    assert not answered(x, labels, mining, normalize=normalize)
    result, gradient = with_gradient(x, labels, mining=mining, normalize=normalize, return_triplets=1)
    again, _ = with_gradient(x, labels, mining=mining, normalize=normalize)
    assert result.triplets[0].d_an == 0
    assert again.loss == result.loss
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("mining", MININGS)
def test_many_positives_are_left_to_the_general_form(mining: str) -> None:
    labels = torch.arange(256) // 32
    x = batch(labels)
    assert answered(x, labels, mining) == (mining == "hard")
    assert facts(batch_triplet_loss(x, labels, mining=mining)) == facts(general(x, labels, mining=mining)[0])


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(mining: str, bad: float) -> None:
    labels = LABELS["two of each"]
    x = batch(labels)
    x[5, 3] = bad
    for normalize in (False, True):
        with pytest.raises(NonFiniteError, match="Row 5 of embeddings"):
            batch_triplet_loss(x, labels, mining=mining, normalize=normalize)
    x[5] = 0.0
    with pytest.raises(DomainError, match="Row 5 of embeddings is zero"):
        batch_triplet_loss(x, labels, mining=mining, normalize=True)
    with pytest.raises(ShapeError, match="64 rows, 63 labels"):
        batch_triplet_loss(x, labels[1:], mining=mining)
    with pytest.raises(OptionError, match="float32"):
        batch_triplet_loss(x, labels.float(), mining=mining)


@pytest.mark.parametrize(("mining", "normalize"), list(itertools.product(MININGS, [False, True])))
def test_inputs_stay_and_their_layout_and_dtype_do_not_matter(mining: str, normalize: bool) -> None:
    labels = LABELS["four of each"]
    x = batch(labels).half()
    strided = x.float().t().contiguous().t()
    options: dict[str, Any] = {"mining": mining, "normalize": normalize}
    assert answered(strided, labels, mining, normalize=normalize)
    versions, before = (strided._version, labels._version), strided.clone()
    one, gradient = with_gradient(x.float(), labels, **options)
    for given in (x, strided):
        leaf = given.clone().requires_grad_() if given is x else given.requires_grad_()
        result = batch_triplet_loss(leaf, labels, **options)
        assert facts(result) == facts(one)
        assert result.loss == one.loss
        assert torch.equal(torch.autograd.grad(result.loss, leaf)[0], gradient.to(given.dtype))
    assert (strided._version, labels._version) == versions
    assert torch.equal(strided, before)
    by_name = [f"identity {label}" for label in labels.tolist()]
    assert facts(batch_triplet_loss(x, by_name, **options)) == facts(one)


@pytest.mark.parametrize("mining", MININGS)
def test_the_gradient_is_of_first_order_and_scales_with_what_comes_in(mining: str) -> None:
    labels = LABELS["two of each"]
    x = batch(labels).requires_grad_()
    loss = batch_triplet_loss(x, labels, mining=mining, normalize=True).loss
    (once,) = torch.autograd.grad(loss, x, retain_graph=True)
    (scaled,) = torch.autograd.grad(3 * loss, x, retain_graph=True)
    torch.testing.assert_close(scaled, 3 * once)
    weight = torch.ones((), requires_grad=True)
    (graphed,) = torch.autograd.grad(weight * loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        graphed.sum().backward()  # type: ignore[no-untyped-call]  # torch has not typed it
    with torch.no_grad():
        assert not batch_triplet_loss(x, labels, mining=mining).loss.requires_grad
    assert not batch_triplet_loss(x.detach(), labels, mining=mining).loss.requires_grad


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_near_rows_keep_their_digits(mining: str, offset: float) -> None:
    labels = torch.arange(32) // 4
    x = (batch(labels)[::4].repeat_interleave(4, 0) + 0.02 * batch(labels, seed=2) + offset).float()
    exact = x.double().numpy()
    margin = dense_oracle.clear_margin(exact, labels.numpy(), "euclidean", 9.0)
    expected = dense_oracle.batch(exact, labels.numpy(), mining, margin)
    result, gradient = with_gradient(x, labels, mining=mining, margin=margin, reduction="sum")
    assert (result.easy, result.semi_hard, result.hard) == expected[1:4]
    assert result.loss.item() == pytest.approx(expected.total, rel=1e-6)
    assert np.linalg.norm(gradient.numpy() - expected.gradient) <= 1e-5 * np.linalg.norm(expected.gradient)


@pytest.mark.parametrize("mining", MININGS)
def test_it_asks_whether_to_stop(mining: str) -> None:
    labels = LABELS["two of each"]
    with interruptible(lambda: True), pytest.raises(InterruptedWorkError):
        batch_triplet_loss(batch(labels), labels, mining=mining)


def test_it_is_for_few_rows_of_at_most_32_bits() -> None:
    assert small_batches.is_small(rows(256, dtype=torch.float32))
    assert small_batches.is_small(rows(2, dtype=torch.bfloat16))
    for other in (rows(257, dtype=torch.float32), rows(64), rows(1, dtype=torch.float32), torch.ones(4, 0)):
        assert not small_batches.is_small(other)
    assert not small_batches.is_small(torch.ones(64, 4096))
    assert not small_batches.is_small(torch.ones(8, 2, dtype=torch.int32))
