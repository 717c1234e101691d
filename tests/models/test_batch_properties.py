"""What holds of every batch: inputs stay, order and names of labels do not matter, scales carry over."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.batch_losses import BatchLoss
from models.distances import METRICS, l2_normalize, paired, pairwise
from models.losses import batch_triplet_loss, triplet_margin_loss
from models.margins import Margin
from tests.models.inputs import DISTRIBUTIONS, metric_named, rows, rows_for

MININGS = ("all", "hard", "semi_hard")
OF_DEGREE_ONE = ("euclidean", "manhattan", "chebyshev", "minkowski")
WHOLE = [name for name in METRICS if name not in DISTRIBUTIONS]


@pytest.fixture(scope="module", autouse=True)
def one_thread_throughout() -> Iterator[None]:
    """Of the module, not of each test: hypothesis refuses a fixture that its examples would share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def counts(result: BatchLoss) -> tuple[int, ...]:
    return result.easy, result.semi_hard, result.hard, result.active_triplets, result.skipped_anchors


def computed(
    x: Tensor, labels: Tensor, mining: str, margin: Margin, name: str
) -> tuple[BatchLoss, Tensor, Tensor]:
    """Return the result, the rows of its triplets and the gradient."""
    leaf = x.clone().requires_grad_()
    result = batch_triplet_loss(
        leaf,
        labels,
        mining=mining,
        margin=margin,
        distance=metric_named(name),
        return_triplets=10**6 if mining == "all" else -1,
    )
    mined = [(t.anchor, t.positive, t.negative) for t in result.triplets]
    triplets = torch.tensor(mined, dtype=torch.int64).reshape(-1, 3)
    return result, triplets, torch.autograd.grad(result.loss, leaf)[0]


@settings(max_examples=150, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), max_size=16),
    mining=st.sampled_from(MININGS),
    margin=st.sampled_from([0.25, 2.0, "soft"]),
    name=st.sampled_from([name for name in METRICS if name != "hamming"]),  # whose ties follow the order
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_a_permuted_batch_has_its_triplets_and_gradients_permuted(
    labels: list[int], mining: str, margin: Margin, name: str, seed: int, data: st.DataObject
) -> None:
    x, given_labels = rows_for(name, len(labels), seed=seed), torch.tensor(labels, dtype=torch.int64)
    order = torch.tensor(data.draw(st.permutations(range(len(labels)))), dtype=torch.int64)
    one, triplets, gradient = computed(x, given_labels, mining, margin, name)
    other, permuted, permuted_gradient = computed(x[order], given_labels[order], mining, margin, name)
    assert counts(one) == counts(other)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(gradient[order], permuted_gradient, rtol=1e-9, atol=1e-12)
    assert {tuple(row) for row in triplets.tolist()} == {tuple(row) for row in order[permuted].tolist()}


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), max_size=12),
    mining=st.sampled_from(MININGS),
    seed=st.integers(0, 99),
)
def test_only_the_equality_of_labels_matters(labels: list[int], mining: str, seed: int) -> None:
    x = rows(len(labels), seed)
    expected = computed(x, torch.tensor(labels, dtype=torch.int64), mining, 0.3, "euclidean")
    renamed = [("identity", 7 - label) for label in labels]
    other = batch_triplet_loss(x, renamed, mining=mining, margin=0.3)
    assert counts(other) == counts(expected[0])
    assert other.loss.item() == pytest.approx(expected[0].loss.item(), rel=1e-12)


@settings(max_examples=80, deadline=None)
@given(
    exponent=st.integers(-98, 98),
    mining=st.sampled_from(MININGS),
    name=st.sampled_from(OF_DEGREE_ONE),
    seed=st.integers(0, 99),
)
def test_a_scaled_batch_has_a_scaled_loss(exponent: int, mining: str, name: str, seed: int) -> None:
    scale = 2.0**exponent  # 3e-30 to 3e29
    x, labels = rows(10, seed, dtype=torch.float32), torch.arange(10) // 3
    one, triplets, gradient = computed(x, labels, mining, 0.5, name)
    scaled, same_triplets, same_gradient = computed(x * scale, labels, mining, 0.5 * scale, name)
    assert counts(one) == counts(scaled)
    assert torch.equal(triplets, same_triplets)
    assert scaled.loss.item() / scale == pytest.approx(one.loss.item(), rel=1e-6)
    torch.testing.assert_close(same_gradient, gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, METRICS)))
def test_the_smallest_batches_of_every_metric(mining: str, name: str) -> None:
    for n, labels in ((0, ""), (1, "a"), (2, "aa"), (2, "ab")):
        leaf = rows_for(name, n).requires_grad_()
        result = batch_triplet_loss(leaf, labels, mining=mining, distance=metric_named(name))
        assert counts(result) == (0, 0, 0, 0, n)
        assert result.loss.item() == 0
        assert torch.equal(torch.autograd.grad(result.loss, leaf)[0], torch.zeros_like(leaf))


@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, METRICS)))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_every_metric_is_float32_of_the_same_numbers(
    mining: str, name: str, dtype: torch.dtype
) -> None:
    x = rows_for(name, 9, d=4)
    if name in DISTRIBUTIONS:  # eighths, which 16 bits hold, so that rows still sum to 1
        x = torch.tensor([[1, 2, 4, 1], [3, 3, 1, 1], [2, 2, 2, 2]]).repeat(3, 1) / 8.0
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0, 1])
    half, single = x.to(dtype), x.to(dtype).float()
    one, _, gradient = computed(half, labels, mining, 0.2, name)
    other, _, expected = computed(single, labels, mining, 0.2, name)
    assert one.loss.dtype == torch.float32
    assert one.loss == other.loss
    assert counts(one) == counts(other)
    assert torch.equal(gradient, expected.to(dtype))


@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, WHOLE)))
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_integers_are_float32_of_the_same_numbers(mining: str, name: str, dtype: torch.dtype) -> None:
    x = torch.randint(1, 9, (9, 4), generator=torch.Generator().manual_seed(0)).to(dtype)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0, 1], dtype=torch.int32)
    whole, single = (
        batch_triplet_loss(values, labels, mining=mining, distance=metric_named(name))
        for values in (x, x.float())
    )
    assert whole.loss == single.loss
    assert counts(whole) == counts(single)


@pytest.mark.parametrize(("mining", "name"), list(itertools.product(MININGS, METRICS)))
def test_no_input_of_any_metric_is_modified(mining: str, name: str) -> None:
    x, labels = rows_for(name, 9).requires_grad_(), torch.tensor([4, 4, 1, 1, 2, 2, 4, 4, 1])
    strided = rows_for(name, 9, seed=1).t().contiguous().t()  # a view that is not contiguous
    inputs = {"x": x, "labels": labels, "strided": strided}
    before = {key: values.detach().clone() for key, values in inputs.items()}
    versions = {key: values._version for key, values in inputs.items()}
    for embeddings in (x, strided):
        for normalize in (False, True):
            if normalize and (name in DISTRIBUTIONS or name == "hamming"):
                continue
            result = batch_triplet_loss(
                embeddings,
                labels,
                mining=mining,
                distance=metric_named(name),
                normalize=normalize,
                return_triplets=2,
            )
            if embeddings is x:
                torch.autograd.grad(result.loss, x)
    assert x.grad is None
    assert {key: values._version for key, values in inputs.items()} == versions
    assert all(torch.equal(values, before[key]) for key, values in inputs.items())


@pytest.mark.parametrize("name", METRICS)
def test_no_input_of_the_distances_and_the_explicit_loss_is_modified(name: str) -> None:
    x, y, z = (rows_for(name, 5, seed=seed).requires_grad_() for seed in range(3))
    before, versions = [v.detach().clone() for v in (x, y, z)], [v._version for v in (x, y, z)]
    metric = metric_named(name)
    answers = [
        pairwise(x, y, metric).sum(),
        paired(x, y, metric).sum(),
        triplet_margin_loss(x, y, z, distance=metric, swap=True, eps=0.0 if name == "euclidean" else None),
    ]
    if name != "hamming":  # whose rounded rows may be zero
        answers.append(l2_normalize(x).sum())
    torch.autograd.grad(torch.stack(answers).sum(), (x, y, z))
    assert all(torch.equal(values, old) for values, old in zip((x, y, z), before, strict=True))
    assert [v._version for v in (x, y, z)] == versions
