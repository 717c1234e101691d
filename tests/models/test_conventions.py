"""docs/losses.md on torch and pytorch-metric-learning: where they coincide with ours, and where not."""

import itertools
import math
from typing import Any

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss as PeerLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import MeanReducer, SumReducer
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_triplets_indices
from torch import Tensor
from torch.nn import functional as F

from models.distances import Metric
from models.errors import DomainError, ShapeError
from models.losses import BatchAllTripletLoss, batch_triplet_loss, triplet_margin_loss
from tests.models.inputs import FORMS_OF_FLOAT64, rows

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = ["aabbcc", "aaaaabbc", "abcabcaabd", "aabbbbbbbcdd"]
PEERS = {
    "euclidean": (lambda: LpDistance(normalize_embeddings=False), False),
    "normalised": (LpDistance, True),
    "squared_euclidean": (lambda: LpDistance(normalize_embeddings=False, power=2), False),
    "manhattan": (lambda: LpDistance(normalize_embeddings=False, p=1), False),
    "chebyshev": (lambda: LpDistance(normalize_embeddings=False, p=math.inf), False),
    "cosine": (CosineSimilarity, False),
}
REDUCERS = {"mean_active": None, "mean": MeanReducer(), "sum": SumReducer()}


def codes(labels: str) -> Tensor:
    return torch.tensor([ord(label) for label in labels])


def same(ours: Tensor, theirs: Tensor, x: Tensor) -> None:
    """Compare two float64 losses and their gradients."""
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)
    gradients = [torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("form")
@FORMS_OF_FLOAT64
@pytest.mark.parametrize(("labels", "name", "reduction"), list(itertools.product(LABELS, PEERS, REDUCERS)))
def test_all_triplets_are_those_of_pml(labels: str, name: str, reduction: str) -> None:
    x = rows(len(labels)).requires_grad_()
    distance, normalize = PEERS[name]
    peer = PeerLoss(margin=0.4, distance=distance(), reducer=REDUCERS[reduction])
    result = batch_triplet_loss(
        x,
        labels,
        margin=0.4,
        distance="euclidean" if name == "normalised" else name,
        normalize=normalize,
        reduction=reduction,
    )
    same(result.loss, peer(x, codes(labels)), x)


def test_the_defaults_of_pml_are_these_options() -> None:
    x, labels = rows(12).requires_grad_(), "aabbbbbbbcdd"
    same(BatchAllTripletLoss(margin=0.05, normalize=True)(x, labels), PeerLoss()(x, codes(labels)), x)


@pytest.mark.parametrize(("labels", "name"), list(itertools.product(LABELS, ["euclidean", "cosine"])))
def test_the_soft_margin_is_its_smooth_loss_at_margin_zero(labels: str, name: str) -> None:
    x = rows(len(labels)).requires_grad_()
    peer = PeerLoss(margin=0, smooth_loss=True, distance=PEERS[name][0]())
    same(batch_triplet_loss(x, labels, margin="soft", distance=name).loss, peer(x, codes(labels)), x)
    shifted = PeerLoss(smooth_loss=True, distance=PEERS[name][0]())  # its default margin, 0.05, is added
    assert shifted(x, codes(labels)) > peer(x, codes(labels))


@pytest.mark.usefixtures("form")
@FORMS_OF_FLOAT64
@pytest.mark.parametrize(("labels", "name", "reduction"), list(itertools.product(LABELS, PEERS, REDUCERS)))
def test_batch_hard_is_its_miner_and_its_loss(labels: str, name: str, reduction: str) -> None:
    x = rows(len(labels)).requires_grad_()
    distance, normalize = PEERS[name]
    mined = BatchHardMiner(distance=distance())(x, codes(labels))
    result = batch_triplet_loss(
        x,
        labels,
        mining="hard",
        margin=0.4,
        distance="euclidean" if name == "normalised" else name,
        normalize=normalize,
        reduction=reduction,
        return_triplets=-1,
    )
    assert [(t.anchor, t.positive, t.negative) for t in result.triplets] == list(
        zip(*(column.tolist() for column in mined), strict=True)
    )
    peer = PeerLoss(margin=0.4, distance=distance(), reducer=REDUCERS[reduction])
    same(result.loss, peer(x, codes(labels), mined), x)


@pytest.mark.parametrize("name", ["euclidean", "cosine"])
def test_its_swap_is_that_of_the_explicit_loss_on_its_triplets(name: str) -> None:
    x, labels = rows(10).requires_grad_(), "abcabcaabd"
    peer = PeerLoss(margin=0.4, swap=True, distance=PEERS[name][0]())
    a, p, n = get_all_triplets_indices(codes(labels))
    options: dict[str, Any] = {"eps": 0.0} if name == "euclidean" else {"distance": name}
    ours = triplet_margin_loss(x[a], x[p], x[n], margin=0.4, swap=True, reduction="mean_active", **options)
    same(ours, peer(x, codes(labels)), x)


@pytest.mark.parametrize("labels", LABELS)
def test_its_miner_of_all_semi_hard_triplets_finds_as_many_as_we_count(labels: str) -> None:
    x = rows(len(labels))
    result = batch_triplet_loss(x, labels, margin=0.4)
    for kind, count in (("semihard", result.semi_hard), ("hard", result.hard), ("easy", result.easy)):
        miner = TripletMarginMiner(
            margin=0.4, type_of_triplets=kind, distance=LpDistance(normalize_embeddings=False)
        )
        assert len(miner(x, codes(labels))[0]) == count


def test_its_miner_counts_a_triplet_at_a_bound_as_the_harder_kind() -> None:
    x = torch.tensor([[0.0], [1.0], [-2.0], [-1.0]])
    miner = TripletMarginMiner(
        margin=1.0, type_of_triplets="semihard", distance=LpDistance(normalize_embeddings=False)
    )
    at_the_margin = list(zip(*(column.tolist() for column in miner(x, codes("aabc"))), strict=True))
    assert at_the_margin == [(0, 1, 2), (1, 0, 3)]  # d_an = 2 = d_ap + 1: their hinge is 0
    assert batch_triplet_loss(x, "aabc", margin=1.0).semi_hard == 0


def test_its_norm_of_order_one_normalises_by_that_norm() -> None:
    x, labels = rows(8), "aabbccab"
    theirs = PeerLoss(margin=0.4, distance=LpDistance(p=1))(x, codes(labels))
    ours = batch_triplet_loss(F.normalize(x, p=1), labels, margin=0.4, distance="manhattan").loss
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    assert batch_triplet_loss(x, labels, margin=0.4, distance="manhattan", normalize=True).loss != theirs


def test_a_zero_row_stays_zero_there_and_is_refused_here() -> None:
    x = rows(4)
    x[2] = 0
    assert torch.isfinite(PeerLoss()(x, codes("aabb")))
    with pytest.raises(DomainError, match="Row 2 of embeddings is zero"):
        batch_triplet_loss(x, "aabb", normalize=True)


@pytest.mark.parametrize("labels", ["aaaa", "abcd"])
def test_without_a_triplet_both_are_zero(labels: str) -> None:
    x = rows(4).requires_grad_()
    same(batch_triplet_loss(x, labels).loss, PeerLoss()(x, codes(labels)).to(x), x)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_other_loss_of_torch_adds_eps_by_default_as_well(swap: bool, reduction: str) -> None:
    a, p, n = rows(6), rows(6, 1), rows(6, 2)
    theirs = F.triplet_margin_with_distance_loss(a, p, n, swap=swap, reduction=reduction)
    ours = triplet_margin_loss(a, p, n, swap=swap, reduction=reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_its_distance_with_keywords_is_minkowski_without_eps() -> None:
    a, p, n = rows(6), rows(6, 1), rows(6, 2)
    theirs = F.triplet_margin_with_distance_loss(
        a, p, n, distance_function=lambda x, y: F.pairwise_distance(x, y, p=3.0, eps=0.0)
    )
    for distance in ("minkowski", Metric("minkowski", 3.0)):
        order = 3.0 if isinstance(distance, str) else None
        ours = triplet_margin_loss(a, p, n, distance=distance, p=order)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_torch_takes_the_eps_into_equal_rows_and_the_mined_losses_do_not() -> None:
    x = torch.zeros(3, 4, dtype=torch.float64)
    far = x + 1
    explicit = triplet_margin_loss(x, x, far, margin=3.0)
    torch.testing.assert_close(explicit, F.triplet_margin_loss(x, x, far, margin=3.0), rtol=1e-12, atol=0)
    assert explicit.item() == pytest.approx(3 + 2e-6 - 2 * (1 - 1e-6), abs=1e-9)
    mined = batch_triplet_loss(torch.cat([x, far]), "aaabbb", mining="hard", margin=3.0)
    assert mined.loss.item() == 1.0


def test_exactly_at_the_hinge_torch_has_a_gradient_and_we_have_none() -> None:
    p, n = torch.tensor([[1.0]]), torch.tensor([[-2.0]])
    ours_at, theirs_at = (torch.zeros(1, 1, requires_grad=True) for _ in range(2))
    ours = triplet_margin_loss(ours_at, p, n, distance="manhattan")
    theirs = F.triplet_margin_with_distance_loss(
        theirs_at, p, n, distance_function=lambda x, y: (x - y).abs().sum(1)
    )
    assert ours == theirs == 0
    assert torch.autograd.grad(ours, ours_at)[0].item() == 0
    assert torch.autograd.grad(theirs, theirs_at)[0].item() == -2


def test_torch_takes_a_single_row_and_we_take_a_batch_of_one() -> None:
    a, p, n = rows(3)
    with pytest.raises(ShapeError, match="must have 2 dimensions"):
        triplet_margin_loss(a, p, n)
    ours = triplet_margin_loss(a[None], p[None], n[None])
    torch.testing.assert_close(ours, F.triplet_margin_loss(a, p, n), rtol=1e-12, atol=0)
