"""Distances and losses are the same on two threads, where torch parts the work, as on one."""

from collections.abc import Iterator

import pytest
import torch

from models.distances import METRICS, pairwise
from models.losses import batch_triplet_loss
from tests.models.inputs import metric_named, rows_for

N, D = 400, 64  # of which torch gives each thread a part


@pytest.fixture
def _kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("name", METRICS)
def test_distances(name: str) -> None:
    x, metric = rows_for(name, N, D), metric_named(name)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(pairwise(x, x, metric))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
def test_batch_losses_and_gradients(mining: str) -> None:
    labels = torch.arange(N) // 4
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        x = rows_for("euclidean", N, D).requires_grad_()
        loss = batch_triplet_loss(x, labels, mining=mining, margin=0.2).loss
        (gradient,) = torch.autograd.grad(loss, x)
        found.append((loss.detach(), gradient))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-6)
