import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models import comparisons, euclid, worst
from models.batch_losses import BatchLoss
from models.distances import METRICS, Metric, pairwise
from models.errors import DomainError
from models.losses import batch_triplet_loss, triplet_margin_loss
from models.margins import Margin
from tests.models import oracles
from tests.models.inputs import FORMS_OF_FLOAT64, rows

MININGS = ("all", "hard", "semi_hard")
LABELS = ["aabbc", "aaaaabbc", "abcabcaabd", "aaaa", "abcd", "ab", "a", ""]


def assert_is(result: BatchLoss, expected: oracles.Losses, margin: float | None) -> None:
    assert (result.easy, result.semi_hard, result.hard) == (expected.easy, expected.semi_hard, expected.hard)
    assert result.valid_triplets == len(expected.costs)
    active = len(expected.costs) if margin is None else expected.semi_hard + expected.hard
    assert result.active_triplets == active
    assert result.fraction_active == (active / len(expected.costs) if expected.costs else 0)


@pytest.mark.usefixtures("form")
@FORMS_OF_FLOAT64
@pytest.mark.parametrize("elements", [3, 2**20])
@pytest.mark.parametrize(
    ("mining", "labels", "margin"), list(itertools.product(MININGS, LABELS, [0.2, 1.5, "soft"]))
)
def test_agrees_with_a_loop_over_triplets(
    mining: str, labels: str, margin: Margin, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", elements)
    x = rows(len(labels))
    plain = None if isinstance(margin, str) else margin
    d = oracles.matrix(x.tolist(), x.tolist(), oracles.DISTANCES["euclidean"])
    expected = oracles.batch_losses(d, labels, mining, plain)
    for reduction in ("mean", "sum", "mean_active"):
        result = batch_triplet_loss(x, labels, mining=mining, margin=margin, reduction=reduction)
        assert_is(result, expected, plain)
        assert result.loss.item() == pytest.approx(
            oracles.folded(expected, reduction, plain), rel=1e-12, abs=0
        )
    default = batch_triplet_loss(x, labels, mining=mining, margin=margin).loss.item()
    usual = "mean_active" if mining == "all" else "mean"
    assert default == pytest.approx(oracles.folded(expected, usual, plain), rel=1e-12, abs=0)


@pytest.mark.usefixtures("form")
@FORMS_OF_FLOAT64
@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, METRICS)))
def test_every_metric_agrees_with_a_loop(mining: str, name: str) -> None:
    x = rows(9).softmax(1)
    metric = Metric(name, 3.0) if name == "minkowski" else Metric(name)
    x = (x * 5).round() if name == "hamming" else x
    d = oracles.matrix(x.tolist(), x.tolist(), oracles.DISTANCES[name])
    d = pairwise(x, metric=metric).tolist() if name in {"hamming", "cosine"} else d  # exact ties
    expected = oracles.batch_losses(d, "aabbccaab", mining, 0.05)
    result = batch_triplet_loss(x, "aabbccaab", mining=mining, margin=0.05, distance=metric)
    assert_is(result, expected, 0.05)
    folded = oracles.folded(expected, "mean_active" if mining == "all" else "mean", 0.05)
    assert result.loss.item() == pytest.approx(folded, rel=1e-11)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("mining", "seed"), list(itertools.product(MININGS, range(4))))
def test_counts_of_float32_are_those_of_the_same_distances(mining: str, seed: int) -> None:
    labels = torch.randint(0, 4, (24,), generator=torch.Generator().manual_seed(seed))
    x = rows(24, seed, dtype=torch.float32)
    x[5:9] = x[4]  # duplicates, across labels
    x[12:] = x[12:].round()  # exact ties
    d = pairwise(x)
    expected = oracles.batch_losses(d.tolist(), labels.tolist(), mining, 0.3, (d + 0.3).flatten().tolist())
    result = batch_triplet_loss(x, labels, mining=mining, margin=0.3)
    assert_is(result, expected, 0.3)
    folded = oracles.folded(expected, "mean_active" if mining == "all" else "mean", 0.3)
    assert result.loss.item() == pytest.approx(folded, abs=1e-6 * (d.max().item() + 0.3))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("mining", MININGS)
def test_exact_ties_and_bounds_are_counted_exactly(mining: str) -> None:
    x = torch.randint(0, 4, (20, 1), generator=torch.Generator().manual_seed(1)).float()
    labels = [0, 1, 2, 1, 0] * 4
    d = pairwise(x).tolist()
    for margin in (1.0, 2.0):
        expected = oracles.batch_losses(d, labels, mining, margin)
        result = batch_triplet_loss(x, labels, mining=mining, margin=margin, reduction="sum")
        assert_is(result, expected, margin)
        assert result.loss.item() == sum(expected.costs)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("mining", "margin"), list(itertools.product(MININGS, [0.5, "soft"])))
def test_float32_gradients_agree_with_explicit_triplets(mining: str, margin: Margin) -> None:
    labels = torch.arange(40) // 5
    x = rows(40, d=16, dtype=torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(batch_triplet_loss(x, labels, mining=mining, margin=margin).loss, x)
    y = x.detach().double().requires_grad_()
    d = torch.cdist(y, y, compute_mode="donot_use_mm_for_euclid_dist")
    formed = oracles.batch_losses(d.tolist(), labels.tolist(), mining, None if margin == "soft" else 0.5)
    a, p, n = torch.tensor(formed.triplets).unbind(1)
    costs = F.softplus(d[a, p] - d[a, n]) if margin == "soft" else F.relu(d[a, p] - d[a, n] + 0.5)
    count = (costs > 0).sum() if mining == "all" else len(costs)
    (expected,) = torch.autograd.grad(costs.sum() / count, y)
    assert (gradient - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("mining", ["hard", "semi_hard"])
def test_without_reduction_each_triplet_has_its_loss(mining: str) -> None:
    x = rows(8).requires_grad_()
    result = batch_triplet_loss(
        x, "aabbcaab", mining=mining, margin=0.5, reduction="none", return_triplets=-1
    )
    assert result.loss.tolist() == [triplet.loss for triplet in result.triplets]
    assert len(result.loss) == result.valid_triplets
    total = batch_triplet_loss(x, "aabbcaab", mining=mining, margin=0.5, reduction="sum").loss
    (summed,), (whole,) = torch.autograd.grad(result.loss.sum(), x), torch.autograd.grad(total, x)
    torch.testing.assert_close(summed, whole)


def test_the_triplets_it_lists_have_the_explicit_loss() -> None:
    x = rows(10)
    result = batch_triplet_loss(
        x, "aabbcaabcc", mining="semi_hard", margin=0.5, reduction="none", return_triplets=-1
    )
    a, p, n = (
        torch.tensor([getattr(t, name) for t in result.triplets])
        for name in ("anchor", "positive", "negative")
    )
    explicit = triplet_margin_loss(x[a], x[p], x[n], margin=0.5, eps=0.0, reduction="none")
    torch.testing.assert_close(result.loss, explicit, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("elements", [5, 2**20])
@pytest.mark.parametrize("mining", MININGS)
def test_the_worst_triplets_come_first_and_ties_in_order(
    mining: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worst, "_TABLE_ELEMENTS", elements)
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", elements)
    x = torch.randint(0, 3, (9, 1), generator=torch.Generator().manual_seed(2)).float()
    labels, d = "aabbcaabc", pairwise(x).tolist()
    expected = oracles.batch_losses(d, labels, mining, 1.0)
    ranked = sorted(zip(expected.costs, expected.triplets, strict=True), key=lambda item: (-item[0], item[1]))
    for count in (0, 1, 7, 10**6):
        listed = batch_triplet_loss(x, labels, mining=mining, margin=1.0, return_triplets=count).triplets
        assert [(t.loss, (t.anchor, t.positive, t.negative)) for t in listed] == ranked[:count]
        assert all((t.d_ap, t.d_an) == (d[t.anchor][t.positive], d[t.anchor][t.negative]) for t in listed)


@pytest.mark.parametrize("mining", MININGS)
def test_normalising_works_on_a_copy(mining: str) -> None:
    x = rows(8).requires_grad_()
    before = x.detach().clone()
    normalised = batch_triplet_loss(x, "aabbccab", mining=mining, normalize=True)
    unit = F.normalize(x.detach()).requires_grad_()
    expected = batch_triplet_loss(unit, "aabbccab", mining=mining)
    torch.testing.assert_close(normalised.loss, expected.loss, rtol=1e-12, atol=0)
    assert torch.equal(x, before)
    (gradient,) = torch.autograd.grad(normalised.loss, x)
    assert ((gradient * x).sum(1).abs() < 1e-12).all()  # along the row nothing changes
    with pytest.raises(DomainError, match="Row 3 of embeddings is zero"):
        batch_triplet_loss(before.index_fill(0, torch.tensor([3]), 0.0), "aabbccab", normalize=True)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_scale_agrees_with_float64(mining: str, scale: float) -> None:
    x = rows(12)
    single, double = (
        batch_triplet_loss(values, "aabbccddaabb", mining=mining, margin=0.5 * scale)
        for values in ((x * scale).float(), x * scale)
    )
    assert single.loss.item() / scale == pytest.approx(double.loss.item() / scale, rel=1e-5)
    assert single.active_triplets == double.active_triplets


@pytest.mark.parametrize("mining", MININGS)
def test_dtype_and_layout_do_not_matter(mining: str) -> None:
    x = rows(9, dtype=torch.float16)
    single = batch_triplet_loss(x.float(), "aabbccaab", mining=mining)
    half = batch_triplet_loss(x, "aabbccaab", mining=mining)
    strided = batch_triplet_loss(x.float().t().contiguous().t(), "aabbccaab", mining=mining)
    assert half.loss.dtype == torch.float32
    assert single.loss == half.loss == strided.loss


def test_the_loss_follows_the_gradient_mode() -> None:
    x = rows(5).requires_grad_()
    with torch.no_grad():
        assert not batch_triplet_loss(x, "aabbc").loss.requires_grad
    assert not batch_triplet_loss(x.detach(), "aabbc").loss.requires_grad
    assert batch_triplet_loss(x, "aabbc").loss.requires_grad


@pytest.mark.parametrize(("mining", "margin"), list(itertools.product(MININGS, [0.5, "soft"])))
def test_no_matrix_of_all_distances_is_held(
    mining: str, margin: Margin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", 800)
    monkeypatch.setattr(worst, "_TABLE_ELEMENTS", 800)
    monkeypatch.setattr(euclid, "_SMALL", 0)
    x = rows(80, d=4).requires_grad_()
    with oracles.LargestTensor() as largest:
        result = batch_triplet_loss(x, torch.arange(80) // 4, mining=mining, margin=margin, return_triplets=5)
        torch.autograd.grad(result.loss, x)
    assert largest.elements < 80 * 80 / 3


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), max_size=14),
    mining=st.sampled_from(MININGS),
    margin=st.sampled_from([0.25, 1.0, "soft"]),
    seed=st.integers(0, 99),
)
def test_inputs_stay_and_a_permuted_batch_has_a_permuted_result(
    labels: list[int], mining: str, margin: Margin, seed: int
) -> None:
    x = rows(len(labels), seed).requires_grad_()
    before = x.detach().clone()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    one = batch_triplet_loss(x, labels, mining=mining, margin=margin)
    other = batch_triplet_loss(x[order], [labels[i] for i in order], mining=mining, margin=margin)
    assert one.easy + one.semi_hard + one.hard == one.valid_triplets
    assert (one.easy, one.semi_hard, one.hard) == (other.easy, other.semi_hard, other.hard)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-12, atol=1e-15)
    gradients = [torch.autograd.grad(result.loss, x)[0] for result in (one, other)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-13)
    assert torch.equal(x, before)
