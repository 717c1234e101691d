import copy
import itertools
import math
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.distances import Metric, paired
from models.errors import OptionError, ShapeError
from models.losses import (
    BatchAllTripletLoss,
    BatchHardTripletLoss,
    BatchSemiHardTripletLoss,
    TripletMarginLoss,
    batch_triplet_loss,
    triplet_margin_loss,
)
from tests.models.inputs import rows

pytestmark = pytest.mark.usefixtures("one_thread")

MODULES = {"all": BatchAllTripletLoss, "hard": BatchHardTripletLoss, "semi_hard": BatchSemiHardTripletLoss}
LABELS = "aabbccab"


def explicit(seed: int = 0) -> tuple[Tensor, ...]:
    return tuple(rows(6, seed + i).requires_grad_() for i in range(3))


@pytest.mark.parametrize("mining", MODULES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"margin": "soft"},
        {"margin": 0.7, "distance": "cosine", "reduction": "sum"},
        {"distance": Metric("minkowski", 3.0), "normalize": True, "return_triplets": 3},
    ],
)
def test_a_module_is_its_function(mining: str, options: dict[str, Any]) -> None:
    x, y = rows(8).requires_grad_(), rows(8).requires_grad_()
    module = MODULES[mining](**options)
    loss, expected = module(x, LABELS), batch_triplet_loss(y, LABELS, mining=mining, **options)
    assert loss == expected.loss
    assert torch.equal(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected.loss, y)[0])
    last = module.last_result
    assert last is not None
    for name in ("mining", "valid_triplets", "easy", "active_triplets", "skipped_anchors", "triplets"):
        assert getattr(last, name) == getattr(expected, name)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum", "mean_active"])
@pytest.mark.parametrize(
    "options",
    [
        {"p": 3.0, "swap": True, "margin": 0.4},
        {"distance": "cosine", "alpha": 0.1},
        {"distance": paired},
    ],
)
def test_the_explicit_module_is_its_function(reduction: str, options: dict[str, Any]) -> None:
    given = explicit()
    module = TripletMarginLoss(**options, reduction=reduction)
    assert torch.equal(module(*given), triplet_margin_loss(*given, **options, reduction=reduction))
    assert module.last_result is not None
    assert module.last_result.valid_triplets == 6


@pytest.mark.parametrize("options", [(), (0.5,), (0.5, 3.0), (0.5, 1.0, 0.01), (0.5, 2.0, 1e-3, True)])
def test_the_explicit_module_takes_the_place_of_the_one_of_torch(options: tuple[Any, ...]) -> None:
    given = explicit()
    for reduction in ("none", "mean", "sum"):
        ours = TripletMarginLoss(*options, reduction=reduction)(*given)
        theirs = nn.TripletMarginLoss(*options, reduction=reduction)(*given)  # type: ignore[misc]
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margin": 0.0}, "margin must be"),
        ({"margin": math.nan}, "margin must be"),
        ({"reduction": "max"}, "reduction is one of"),
        ({"distance": "euclid"}, "Did you mean 'euclidean'"),
        ({"distance": "nuclear"}, "whole matrices"),
    ],
)
def test_a_wrong_option_is_refused_before_the_first_batch(options: dict[str, Any], words: str) -> None:
    for kind in (*MODULES.values(), TripletMarginLoss):
        with pytest.raises(OptionError, match=words):
            kind(**options)


def test_what_does_not_go_together_is_refused_before_the_first_batch() -> None:
    with pytest.raises(OptionError, match="return_triplets gives those of largest loss"):
        BatchAllTripletLoss(reduction="none")
    with pytest.raises(OptionError, match="compares distributions"):
        BatchHardTripletLoss(distance="kl_divergence", normalize=True)
    with pytest.raises(OptionError, match="return_triplets is -1"):
        BatchSemiHardTripletLoss(return_triplets=-2)
    with pytest.raises(OptionError, match="cosine takes no p"):
        TripletMarginLoss(distance="cosine", p=3.0)
    with pytest.raises(OptionError, match="belongs to mined batches"):
        TripletMarginLoss("soft")  # type: ignore[arg-type]


@pytest.mark.parametrize("mining", MODULES)
def test_no_graph_outlives_the_step(mining: str) -> None:
    class Witness(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            witnesses.append(weakref.ref(ctx))
            return x * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0] * 2

    witnesses: list[weakref.ref[Any]] = []
    module = MODULES[mining]()
    loss = module(Witness.apply(rows(8).requires_grad_()), LABELS)  # type: ignore[no-untyped-call]
    assert witnesses[0]() is not None
    value = loss.item()
    del loss
    assert witnesses[0]() is None
    assert module.last_result is not None
    assert not module.last_result.loss.requires_grad
    assert module.last_result.loss.item() == value


def test_the_remembered_loss_is_a_copy() -> None:
    module = BatchHardTripletLoss()
    loss = module(rows(8), LABELS)
    value = loss.item()
    loss.zero_()
    assert module.last_result is not None
    assert module.last_result.loss.item() == value


@pytest.mark.parametrize("kind", [*MODULES.values(), TripletMarginLoss])
def test_modules_can_be_copied_and_pickled(kind: type[nn.Module]) -> None:
    module = kind(margin=0.3)
    arguments = explicit() if kind is TripletMarginLoss else (rows(8).requires_grad_(), LABELS)
    for _ in range(2):  # new, and with a result to remember
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert repr(other) == repr(module)
            assert torch.equal(other(*arguments), module(*arguments))


def test_modules_add_nothing_to_the_state_of_a_model() -> None:
    model = nn.ModuleDict(
        {"network": nn.Linear(4, 2), "batch": BatchAllTripletLoss(), "explicit": TripletMarginLoss()}
    )
    model["batch"](model["network"](rows(8, dtype=torch.float32)), LABELS)
    assert set(model.state_dict()) == {"network.weight", "network.bias"}
    assert len(list(model.parameters())) == 2
    model.load_state_dict(model.state_dict())
    model.double().eval()
    assert model["batch"](model["network"](rows(8)), LABELS).dtype == torch.float64


def test_their_text_says_which_loss_they_are() -> None:
    assert repr(BatchHardTripletLoss("soft")) == (
        "BatchHardTripletLoss(margin='soft', distance='euclidean', normalize=False, reduction=None, "
        "return_triplets=0)"
    )
    assert repr(TripletMarginLoss(0.5, 3.0)) == (
        "TripletMarginLoss(margin=0.5, distance='euclidean', p=3.0, swap=False, alpha=0.0, reduction='mean')"
    )


@pytest.mark.parametrize("mining", MODULES)
def test_a_network_learns_with_it(mining: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    x, labels = rows(24, d=8, dtype=torch.float32), torch.arange(24) % 4
    loss_function = MODULES[mining](margin=0.5)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(120):
        optimizer.zero_grad()
        loss = loss_function(network(x), labels)
        loss.backward()
        optimizer.step()
    assert loss_function.last_result is not None
    assert loss_function.last_result.fraction_active < 0.02
    assert loss.item() < 0.02


@pytest.mark.parametrize("mining", MODULES)
def test_modes_make_no_difference_to_the_loss(mining: str) -> None:
    module, x = MODULES[mining](), rows(8).requires_grad_()
    expected = module(x, LABELS)
    assert module.eval()(x, LABELS) == expected
    with torch.no_grad():
        loss = module(x, LABELS)
    assert loss == expected
    assert not loss.requires_grad
    with torch.inference_mode():
        assert module(x, LABELS) == expected


@pytest.mark.parametrize("mining", MODULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_float32_and_gets_its_gradient_back(
    mining: str, dtype: torch.dtype
) -> None:
    x = rows(8).to(dtype).requires_grad_()
    single = x.detach().float().requires_grad_()
    module = MODULES[mining]()
    loss, expected = module(x, LABELS), module(single, LABELS)
    assert loss.dtype == torch.float32
    assert loss == expected
    (gradient,), (full,) = torch.autograd.grad(loss, x), torch.autograd.grad(expected, single)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, full.to(dtype))


@pytest.mark.parametrize(("mining", "n", "inside"), list(itertools.product(MODULES, [8, 300], [False, True])))
def test_autocast_does_not_round_the_loss(mining: str, n: int, inside: bool) -> None:
    labels = torch.arange(n) // 2
    x, y = (rows(n, d=16, dtype=torch.float32).requires_grad_() for _ in range(2))
    module = MODULES[mining](normalize=True)
    plain = module(y, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(x, labels)
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    plain.backward()
    assert loss == plain
    assert loss.dtype == torch.float32
    assert x.grad is not None
    assert y.grad is not None
    assert torch.equal(x.grad, y.grad)


@pytest.mark.parametrize("mining", MODULES)
@pytest.mark.parametrize("labels", ["", "a", "ab", "aaaa", "abcd"])
def test_a_batch_without_a_triplet_is_a_step_that_moves_nothing(mining: str, labels: str) -> None:
    module = MODULES[mining](margin=0.3)
    x = rows(len(labels), dtype=torch.float32).requires_grad_()
    loss = module(x, labels)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert (x.grad == 0).all()
    assert module.last_result is not None
    assert (module.last_result.valid_triplets, module.last_result.skipped_anchors) == (0, len(labels))


def test_the_margin_may_change_between_steps() -> None:
    module, x = BatchHardTripletLoss(margin=0.1), rows(8)
    module.margin = "soft"
    assert module(x, LABELS) == batch_triplet_loss(x, LABELS, mining="hard", margin="soft").loss
    module.margin = -1.0
    with pytest.raises(OptionError, match="margin must be"):
        module(x, LABELS)


def test_a_batch_that_is_refused_leaves_the_last_result() -> None:
    module = BatchAllTripletLoss()
    assert module.last_result is None
    module(rows(8), LABELS)
    before = module.last_result
    with pytest.raises(ShapeError):
        module(rows(7), LABELS)
    assert module.last_result is before
