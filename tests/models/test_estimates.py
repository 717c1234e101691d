"""Estimates of memory against torch's own record: never too low, and not far too high where it matters."""

import tracemalloc
from collections import Counter

import pytest
import torch
from torch import Tensor

from models.batch_losses import batch_triplet_loss
from models.distances import Metric, l2_normalize, matrix_distance, paired, pairwise
from models.estimates import (
    SLACK_BYTES,
    Rows,
    batch_loss_bytes,
    explicit_loss_bytes,
    matrix_bytes,
    most_that_fit,
    paired_bytes,
    pairwise_bytes,
    positive_pairs,
)
from models.losses import TripletOptions, explicit_triplet_loss
from tests.models.memory import peak_bytes

# What strips are counted at beyond what they take where hardly any rows are near each other.
WORST_STRIPS_BYTES = 256 * 2**20
LARGE_BYTES = 100 * 2**20

METRICS = [Metric("euclidean"), Metric("cosine"), Metric("manhattan"), Metric("minkowski", 3.0)]


def rows(kind: str, count: int, dimension: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(count + dimension)
    drawn = torch.randn(count, dimension, generator=generator)
    made = {
        "random": drawn,
        "near": 1 + 1e-3 * drawn,
        "equal": torch.ones_like(drawn),
        "shares": drawn.softmax(1),
    }
    return made[kind].to(dtype)


def assert_fits(estimate: int, peak: int) -> None:
    assert peak <= estimate + SLACK_BYTES
    assert estimate <= 4 * peak + WORST_STRIPS_BYTES


@pytest.mark.parametrize(
    "shape", [(1, 1, 4), (20, 30, 16), (300, 200, 128), (1500, 1000, 8), (50, 2000, 150)]
)
@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        *(("random", metric) for metric in METRICS),
        ("near", Metric("euclidean")),
        ("equal", Metric("euclidean")),
        ("equal", Metric("squared_euclidean")),
        ("shares", Metric("kl_divergence")),
    ],
)
def test_pairwise_distances_stay_within_their_estimate(
    kind: str, metric: Metric, shape: tuple[int, int, int]
) -> None:
    n, m, d = shape
    x, y = rows(kind, n, d), rows(kind, m, d)
    with torch.inference_mode():
        assert_fits(pairwise_bytes(Rows.of(x), Rows.of(y)), peak_bytes(lambda: pairwise(x, y, metric)))
        assert_fits(pairwise_bytes(Rows.of(x)), peak_bytes(lambda: pairwise(x, None, metric)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
def test_other_dtypes_are_counted_as_what_they_compute_in(dtype: torch.dtype) -> None:
    x, y = rows("random", 1000, 64, dtype), rows("random", 2000, 64, dtype)
    with torch.inference_mode():
        assert_fits(pairwise_bytes(Rows.of(x), Rows.of(y)), peak_bytes(lambda: pairwise(x, y)))


def test_normalising_first_is_within_the_estimate() -> None:
    x, y = rows("random", 500, 2000), rows("random", 500, 2000)
    with torch.inference_mode():
        peak = peak_bytes(lambda: pairwise(l2_normalize(x), l2_normalize(y), "cosine"))
    assert_fits(pairwise_bytes(Rows.of(x), Rows.of(y)), peak)


def test_large_work_is_not_estimated_at_four_times_its_memory() -> None:
    x = rows("random", 6000, 16)
    with torch.inference_mode():
        peak = peak_bytes(lambda: pairwise(x))
    assert LARGE_BYTES < peak <= pairwise_bytes(Rows.of(x)) <= 4 * peak
    x, labels = rows("random", 2400, 16), torch.arange(2400) // 1200
    peak = peak_bytes(lambda: batch_triplet_loss(x, labels, mining="semi_hard"))
    estimate = batch_loss_bytes(Rows.of(x), mining="semi_hard", pairs=positive_pairs([1200, 1200], 2400))
    assert LARGE_BYTES < peak <= estimate <= 4 * peak


@pytest.mark.parametrize("shape", [(3, 2), (20_000, 16), (1000, 512)])
@pytest.mark.parametrize("metric", METRICS)
def test_paired_distances_stay_within_their_estimate(metric: Metric, shape: tuple[int, int]) -> None:
    x, y = rows("random", *shape), rows("near", *shape)
    with torch.inference_mode():
        assert_fits(paired_bytes(Rows.of(x), Rows.of(y)), peak_bytes(lambda: paired(x, y, metric)))


@pytest.mark.parametrize("metric", ["frobenius", "nuclear"])
@pytest.mark.parametrize("shape", [(400, 300), (20, 5000)])
def test_matrix_distances_stay_within_their_estimate(metric: str, shape: tuple[int, int]) -> None:
    x, y = rows("random", *shape), rows("near", *shape)
    with torch.inference_mode():
        peak = peak_bytes(lambda: matrix_distance(x, y, metric))
    assert_fits(matrix_bytes(Rows.of(x), Rows.of(y)), peak)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("distance", ["euclidean", "cosine", "manhattan"])
def test_explicit_losses_stay_within_their_estimate(distance: str, swap: bool, gradients: bool) -> None:
    given = [rows("random", 5000, 96), rows("random", 5000, 96) + 1, rows("random", 5000, 96) - 1]
    options = TripletOptions(distance=distance, swap=swap, reduction="none")

    def work() -> object:
        leaves = [side.detach().requires_grad_(gradients) for side in given]
        anchor, positive, negative = leaves
        loss = explicit_triplet_loss(anchor, positive, negative, options).loss
        return loss, torch.autograd.grad(loss.sum(), leaves) if gradients else None

    assert_fits(explicit_loss_bytes(Rows.of(given[0]), swap=swap, gradients=gradients), peak_bytes(work))


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
@pytest.mark.parametrize(
    ("kind", "size", "margin", "distance"),
    [
        ("random", 4, 0.2, "euclidean"),
        ("random", 300, 0.2, "cosine"),
        ("random", 10, "soft", "manhattan"),
        ("equal", 20, 0.2, "euclidean"),
        ("equal", 20, "soft", "euclidean"),
    ],
)
def test_batch_losses_stay_within_their_estimate(
    kind: str, size: int, margin: float, distance: str, mining: str, gradients: bool
) -> None:
    x, labels = rows(kind, 1200, 32), torch.arange(1200) // size
    pairs = positive_pairs(Counter(labels.tolist()).values(), len(x))

    def work() -> object:
        leaf = x.detach().requires_grad_(gradients)
        loss = batch_triplet_loss(leaf, labels, mining=mining, margin=margin, distance=distance).loss
        return loss, torch.autograd.grad(loss, leaf) if gradients else None

    estimate = batch_loss_bytes(Rows.of(x), mining=mining, pairs=pairs, gradients=gradients)
    assert_fits(estimate, peak_bytes(work))


@pytest.mark.parametrize(("mining", "listed"), [("all", 1000), ("hard", -1), ("semi_hard", -1)])
@pytest.mark.parametrize("kind", ["random", "equal"])
def test_listed_triplets_are_in_the_estimate(kind: str, mining: str, listed: int) -> None:
    x, labels = rows(kind, 1000, 8), torch.arange(1000) // 5

    def work() -> object:
        return batch_triplet_loss(x, labels, mining=mining, return_triplets=listed)

    work()
    tracemalloc.start()
    kept = work()
    _, objects = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    estimate = batch_loss_bytes(Rows.of(x), mining=mining, pairs=1000 * 4, listed=listed)
    assert_fits(estimate, peak_bytes(work) + objects)


# The worst are looked for after the sum, a positive at a time, which takes a minute for a thousand.
@pytest.mark.parametrize(("labels", "listed"), [(2, 0), (128, 100)])
@pytest.mark.parametrize("kind", ["random", "equal"])
def test_batch_all_of_several_strips_stays_within_its_estimate(kind: str, labels: int, listed: int) -> None:
    x, codes = rows(kind, 2048, 16), torch.arange(2048) % labels

    def work() -> object:
        leaf = x.detach().requires_grad_()
        result = batch_triplet_loss(leaf, codes, mining="all", return_triplets=listed)
        return result, torch.autograd.grad(result.loss, leaf)

    assert_fits(batch_loss_bytes(Rows.of(x), gradients=True, listed=listed), peak_bytes(work))


def test_a_single_class_forms_no_pairs() -> None:
    assert positive_pairs([4], 4) == 0
    assert positive_pairs([3, 2, 1], 6) == 8


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (9, 0), (10, 1), (99, 9), (100, 10), (10_000, 50)])
def test_the_most_that_fit_is_exact(limit: int, count: int) -> None:
    assert most_that_fit(lambda rows: 10 * rows, limit, 50) == count
