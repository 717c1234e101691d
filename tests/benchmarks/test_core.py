"""The benchmark of the core: its plain forms are right, and it writes what it measured."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.core import simple_losses
from benchmarks.core.batches import labelled_batch, rows_of_metric, rows_to_compare
from benchmarks.core.cases import MARGIN, Case, all_cases, quick_cases, warm_up_of
from benchmarks.core.distance_peers import metric_peers
from benchmarks.core.exactness import measure_accuracy, measure_mined
from benchmarks.core.loss_peers import LOSS_PEERS
from benchmarks.core.peers import OURS, peers_of
from benchmarks.core.simple_losses import (
    dense_batch_all,
    dense_batch_hard,
    dense_semi_hard,
    sorted_batch_all,
    streamed_batch_all,
)
from models.losses import batch_triplet_loss

SMALL = {"batch_all": 48, "batch_hard": 40, "semi_hard": 36}
Form = Callable[[Tensor, Tensor, float], Tensor]
FORMS = [
    (dense_batch_all, "all"),
    (streamed_batch_all, "all"),
    (sorted_batch_all, "all"),
    (dense_batch_hard, "hard"),
    (dense_semi_hard, "semi_hard"),
]


@pytest.mark.parametrize(("form", "mining"), FORMS)
def test_plain_forms_agree_with_ours(form: Form, mining: str) -> None:
    x, labels = labelled_batch(Case("batch_all", 48, 16, 4), "cpu")
    assert_agrees_with_ours(form, mining, x.double(), labels)


@pytest.mark.parametrize("form", [streamed_batch_all, sorted_batch_all])
def test_streamed_forms_add_up_their_tiles(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simple_losses, "_TILE", 100)
    x, labels = labelled_batch(Case("batch_all", 48, 16, 4), "cpu")
    assert_agrees_with_ours(form, "all", x.double(), labels)


@pytest.mark.parametrize("form", [streamed_batch_all, sorted_batch_all])
def test_streamed_forms_take_unbalanced_batches(form: Form) -> None:
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_agrees_with_ours(form, "all", x, torch.tensor([0, 0, 1, 1, 1, 2, 2]))


def assert_agrees_with_ours(form: Form, mining: str, x: Tensor, labels: Tensor) -> None:
    """Compare loss and gradient."""
    theirs, ours = x.clone().requires_grad_(), x.clone().requires_grad_()
    loss = form(theirs, labels, MARGIN)
    expected = batch_triplet_loss(ours, labels, mining=mining, margin=MARGIN).loss
    expected.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
    assert torch.allclose(loss, expected, rtol=1e-6)
    assert theirs.grad is not None
    assert ours.grad is not None
    assert torch.allclose(theirs.grad, ours.grad, atol=1e-7)


@pytest.mark.parametrize("group", LOSS_PEERS)
def test_peers_of_one_definition_find_one_loss(group: str) -> None:
    case = Case(group, SMALL[group], 24, 4)
    found = {name: peer.prepare(case, "cpu")() for name, peer in peers_of(case).items()}
    assert {name for name, loss in found.items() if loss != pytest.approx(found[OURS], rel=1e-5)} <= {
        "PML (other definition)"
    }


@pytest.mark.parametrize("metric", sorted({case.metric for case in all_cases() if case.group == "metrics"}))
def test_peers_compute_one_metric(metric: str) -> None:
    case = Case("metrics", 20, 6, metric=metric, backward=False)
    ours: Any = peers_of(case)[OURS].prepare(case, "cpu")()
    for peer in metric_peers(case)[1:]:
        theirs = torch.as_tensor(peer.prepare(case, "cpu")(), dtype=torch.float32)
        assert torch.allclose(ours, theirs, atol=1e-5), peer.name


def test_mined_rows_are_compared_with_the_dense_form() -> None:
    assert measure_mined(Case("batch_hard", 64, 8, 4), "cpu") == {"anchors": 64, "same": 64}


@pytest.mark.parametrize("data", ["random", "near", "clusters"])
def test_accuracy_sees_what_a_product_loses(data: str) -> None:
    found = measure_accuracy(Case("distances", 200, 32, data=data, backward=False), "cpu")
    assert found[OURS]["on_equal"] == 0
    assert found[OURS]["near_error"] <= 1e-5
    assert found["cdist, product"]["near_error"] > 1e-2
    assert all(errors["nan"] == 0 for errors in found.values())


def test_rows_to_compare_have_copies_and_near_copies() -> None:
    x, y = rows_to_compare(Case("distances", 1000, 8), "cpu")
    assert torch.equal(x, y)
    assert x.data_ptr() != y.data_ptr()
    distances = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert int((distances == 0).sum()) == 1000 + 2 * 10
    assert int(((distances > 0) & (distances < 0.1)).sum()) == 2 * 3


def test_inputs_are_the_same_every_time() -> None:
    case = Case("batch_all", 64, 8, 4)
    assert all(
        torch.equal(*pair)
        for pair in zip(labelled_batch(case, "cpu"), labelled_batch(case, "cpu"), strict=True)
    )
    assert torch.equal(labelled_batch(case, "cpu")[1].bincount(), torch.full((16,), 4))
    x, _ = rows_of_metric(Case("metrics", 5, 4, metric="kl_divergence"), "cpu")
    assert torch.allclose(x.sum(1), torch.ones(5))


@pytest.mark.parametrize("cases", [all_cases(), quick_cases()])
def test_cases_are_told_apart_and_grow(cases: list[Case]) -> None:
    assert len({case.key for case in cases}) == len(cases)
    assert all(warm_up_of(case).n <= case.n for case in cases)
    for before, after in itertools.pairwise(cases):
        if before.is_loss and (before.group, before.k, before.d) == (after.group, after.k, after.d):
            assert before.n < after.n


@pytest.mark.parametrize(
    ("case", "products"),
    [
        (Case("batch_all", 10, 3, 2), 1.5),
        (Case("batch_hard", 10, 3, 2), 0.5),
        (Case("distances", 10, 3), 3),
        (Case("distances", 10, 3, backward=False), 1),
        (Case("metrics", 10, 3, metric="manhattan", backward=False), 0),
    ],
)
def test_floors_count_the_products_that_are_needed(case: Case, products: float) -> None:
    assert case.flops == products * 2 * 10 * 10 * 3


def test_what_is_needed_grows_with_the_batch() -> None:
    for peers in LOSS_PEERS.values():
        for peer in peers:
            needed = [peer.needs(Case("", n, 8, 4)) for n in (512, 1024, 8192)]
            assert needed == sorted(needed)
            assert all(map(math.isfinite, needed))
