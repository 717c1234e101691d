import doctest
import itertools
import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models import batch_losses, distances, explicit_losses, loss_modules
from models import triplets as mining
from models.distances import METRICS, Metric, paired
from models.errors import InputError, NonFiniteError, OptionError, OverflowedError, ShapeError
from models.losses import TripletOptions, explicit_triplet_loss, triplet_margin_loss

REDUCTIONS = ("none", "mean", "sum")
EXAMPLES = {
    "models.batch_losses": 3,
    "models.distances": 1,
    "models.explicit_losses": 2,
    "models.loss_modules": 7,
    "models.triplets": 1,
}


def triplets(
    seed: int = 0, n: int = 12, d: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(3, n, d, dtype=dtype, generator=generator).requires_grad_().unbind(0))


@pytest.mark.parametrize(
    ("margin", "p", "swap", "reduction"),
    list(itertools.product([0.1, 1.0, 5.0], [1.0, 2.0, 3.0, math.inf], [False, True], REDUCTIONS)),
)
def test_agrees_with_torch(margin: float, p: float, swap: bool, reduction: str) -> None:
    a, positive, n = triplets()
    ours = triplet_margin_loss(a, positive, n, margin=margin, p=p, swap=swap, reduction=reduction)
    theirs = F.triplet_margin_loss(a, positive, n, margin=margin, p=p, swap=swap, reduction=reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    gradients = [
        torch.autograd.grad(loss.sum(), (a, positive, n), retain_graph=True) for loss in (ours, theirs)
    ]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("eps", [0.0, 1e-6, 0.1])
def test_the_eps_is_placed_as_torch_places_it(eps: float) -> None:
    a, _, n = triplets(dtype=torch.float32)
    same = a.detach().clone()
    ours = triplet_margin_loss(a, same, n, eps=eps, reduction="none")
    torch.testing.assert_close(ours, F.triplet_margin_loss(a, same, n, eps=eps, reduction="none"))
    far = n + 1000
    d_ap = (
        triplet_margin_loss(a, same, far, margin=1e4, eps=eps, reduction="none") + paired(a, far - eps) - 1e4
    )
    torch.testing.assert_close(d_ap, torch.full_like(d_ap, math.sqrt(5) * eps), rtol=1e-3, atol=2e-3)


def test_equal_rows_have_the_gradient_that_torch_gives_them() -> None:
    a, _, n = triplets()
    same = a.detach().clone()
    ours, theirs = triplet_margin_loss(a, same, n, margin=9), F.triplet_margin_loss(a, same, n, margin=9)
    (gradient,), (expected,) = torch.autograd.grad(ours, a), torch.autograd.grad(theirs, a)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("swap", "reduction"), list(itertools.product([False, True], REDUCTIONS)))
@pytest.mark.parametrize(
    ("distance", "function"),
    [
        ("cosine", lambda x, y: 1 - F.cosine_similarity(x, y)),
        ("squared_euclidean", lambda x, y: (x - y).square().sum(1)),
        ("manhattan", lambda x, y: (x - y).abs().sum(1)),
        ("chebyshev", lambda x, y: (x - y).abs().amax(1)),
        (Metric("minkowski", 3.0), lambda x, y: torch.linalg.vector_norm(x - y, 3.0, dim=1)),
    ],
)
def test_agrees_with_torch_for_another_distance(
    distance: str, function: Callable[[Tensor, Tensor], Tensor], swap: bool, reduction: str
) -> None:
    a, p, n = triplets()
    theirs = F.triplet_margin_with_distance_loss(
        a, p, n, distance_function=function, margin=0.5, swap=swap, reduction=reduction
    )
    for choice in (distance, function):
        ours = triplet_margin_loss(a, p, n, margin=0.5, distance=choice, swap=swap, reduction=reduction)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_takes_part(name: str) -> None:
    a, p, n = (rows.softmax(1) for rows in triplets())
    ours = triplet_margin_loss(a, p, n, margin=0.1, distance=name, eps=0.0 if name == "euclidean" else None)
    expected = F.relu(paired(a, p, name) + 0.1 - paired(a, n, name)).mean()
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)


def test_an_order_means_the_norm_and_minkowski_takes_it_without_eps() -> None:
    a, p, n = triplets()
    minkowski = triplet_margin_loss(a, p, n, distance="minkowski", p=3)
    torch.testing.assert_close(minkowski, triplet_margin_loss(a, p, n, p=3, eps=0.0), rtol=1e-12, atol=0)
    assert minkowski != triplet_margin_loss(a, p, n, p=3)
    assert triplet_margin_loss(a, p, n, distance=Metric("euclidean")) == triplet_margin_loss(a, p, n)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distance": "cosine", "p": 3.0}, "cosine takes no p"),
        ({"distance": "cosine", "eps": 1e-6}, "cosine takes no eps"),
        ({"distance": "minkowski", "p": 3.0, "eps": 1e-6}, "minkowski takes no eps"),
        ({"distance": Metric("minkowski", 3.0), "p": 2.0}, "has its p already"),
        ({"distance": paired, "eps": 1e-6}, "callable distance takes no p and no eps"),
        ({"distance": "frobenius"}, "compares two whole matrices"),
        ({"distance": "euclid"}, "Did you mean 'euclidean'"),
        ({"p": -1.0}, "p must be greater than 0"),
        ({"eps": -1.0}, "eps must be"),
        ({"alpha": -1.0}, "alpha must be"),
        ({"margin": 0.0}, "margin must be a finite number greater than 0, not 0"),
        ({"margin": math.nan}, "margin must be"),
        ({"margin": math.inf}, "margin must be"),
        ({"margin": "soft"}, "belongs to mined batches"),
        ({"reduction": "max"}, "reduction is one of none, mean, sum, mean_active"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        triplet_margin_loss(*triplets(), **options)  # type: ignore[arg-type]


def test_the_mean_over_the_active_leaves_the_easy_out() -> None:
    a = torch.zeros(3, 1)
    p, n = torch.tensor([[1.0], [1.0], [1.0]]), torch.tensor([[2.0], [1.5], [9.0]])
    result = explicit_triplet_loss(a, p, n, TripletOptions(distance="manhattan", reduction="mean_active"))
    assert (result.valid_triplets, result.active_triplets) == (3, 1)  # d_an == d_ap + margin is easy
    assert result.fraction_active == pytest.approx(1 / 3)
    assert result.loss.item() == 0.5
    easy = explicit_triplet_loss(a, p, n + 99, TripletOptions(reduction="mean_active"))
    assert (easy.loss.item(), easy.active_triplets) == (0, 0)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "mean_active"])
def test_alpha_adds_the_distances(swap: bool, reduction: str) -> None:
    a, p, n = triplets()
    d_ap, d_an = paired(a, p, "manhattan"), paired(a, n, "manhattan")
    if swap:
        d_an = torch.minimum(d_an, paired(p, n, "manhattan"))
    costs = F.relu(d_ap - d_an + 1)
    each = costs + 0.25 * (d_ap + d_an)
    expected = {"none": each, "mean": each.mean(), "sum": each.sum(), "mean_active": each[costs > 0].mean()}
    ours = triplet_margin_loss(a, p, n, distance="manhattan", swap=swap, alpha=0.25, reduction=reduction)
    torch.testing.assert_close(ours, expected[reduction], rtol=1e-12, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_active"])
def test_no_triplets_give_a_zero_with_gradient_zero(reduction: str) -> None:
    none = torch.zeros(0, 3, requires_grad=True)
    loss = triplet_margin_loss(none, none, none, reduction=reduction)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, none)[0].shape == (0, 3)
    assert triplet_margin_loss(none, none, none, reduction="none").shape == (0,)


def test_gradients_are_those_of_finite_differences() -> None:
    for options in ({}, {"swap": True, "alpha": 0.1}, {"distance": "cosine"}, {"p": 1.5, "reduction": "sum"}):
        loss = lambda *rows, options=options: triplet_margin_loss(*rows, **options)  # noqa: E731
        inputs = tuple(rows.detach().requires_grad_() for rows in triplets(n=4))
        assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_scale_agrees_with_float64(scale: float) -> None:
    a, p, n = (rows.detach() * scale for rows in triplets())
    margin = 0.5 * scale
    single = triplet_margin_loss(a.float(), p.float(), n.float(), margin=margin, eps=0.0)
    double = triplet_margin_loss(a, p, n, margin=margin, eps=0.0)
    assert single.dtype == torch.float32
    assert single.item() / scale == pytest.approx(double.item() / scale, rel=1e-5)


def test_half_precision_and_integers_compute_in_float32() -> None:
    a, p, n = (rows.detach().half() for rows in triplets())
    assert torch.equal(triplet_margin_loss(a, p, n), triplet_margin_loss(a.float(), p.float(), n.float()))
    whole = torch.tensor([[0]]), torch.tensor([[2]]), torch.tensor([[1]])
    assert triplet_margin_loss(*whole).item() == pytest.approx(2)


def test_inputs_that_do_not_fit_are_refused_by_name() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ShapeError, match="negative has 1 rows where anchor has 2"):
        triplet_margin_loss(x, x, x[:1])
    with pytest.raises(ShapeError, match="positive has 2 columns where anchor has 3"):
        triplet_margin_loss(x, x[:, :2], x)
    with pytest.raises(NonFiniteError, match="Row 1 of negative"):
        triplet_margin_loss(x, x, torch.tensor([[0.0] * 3, [math.nan] * 3]))
    with pytest.raises(InputError, match="Row 0 of anchor is zero"):
        triplet_margin_loss(x, x, x, distance="cosine")
    with pytest.raises(OverflowedError):
        triplet_margin_loss(x + 3e38, x - 3e38, x)
    with pytest.raises(OverflowedError):
        triplet_margin_loss(x + 1e38, x, x + 1e38, reduction="sum", alpha=9.0)


def test_a_callable_must_return_finite_numbers_one_a_triplet() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ShapeError, match=r"2 numbers for 2 pairs of rows; its shape is \(2, 3\)"):
        triplet_margin_loss(x, x, x, distance=lambda a, b: a - b)
    with pytest.raises(NonFiniteError, match="pair 0"):
        triplet_margin_loss(x, x, x, distance=lambda a, b: (a - b).sum(1) / 0)


def test_inputs_stay_as_they_are() -> None:
    rows = triplets()
    before = [values.detach().clone() for values in rows]
    torch.autograd.grad(triplet_margin_loss(*rows, swap=True, alpha=0.1), rows)
    assert all(torch.equal(values, old) for values, old in zip(rows, before, strict=True))


@pytest.mark.parametrize(
    "module",
    [batch_losses, distances, explicit_losses, loss_modules, mining],
    ids=lambda module: module.__name__,
)
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=EXAMPLES[module.__name__])
