"""The euclidean distances of larger inputs, by matrix products: what a product alone gets wrong."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import comparisons, euclid
from models.distances import pairwise
from tests.models.inputs import rows

NAMES = ("euclidean", "squared_euclidean", "cosine")


def exactly(x: Tensor, y: Tensor, name: str) -> Tensor:
    """Return the float64 distances, from differences."""
    x, y = x.double(), y.double()
    if name == "cosine":
        x, y = (values / values.norm(dim=1, keepdim=True) for values in (x, y))
    d = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return {"euclidean": d, "squared_euclidean": d * d, "cosine": d * d / 2}[name]


def relative_error(x: Tensor, y: Tensor, name: str = "euclidean") -> float:
    actual, expected = pairwise(x, y, name).double(), exactly(x, y, name)
    assert (actual[expected == 0] == 0).all()
    apart = expected > 0
    return float(((actual - expected).abs()[apart] / expected[apart]).max())


def neighbours(x: Tensor, least: float, most: float, seed: int = 1) -> Tensor:
    """Return for each row another at a share of its length, whose square is between least and most."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    shares = torch.rand(len(x), 1, generator=generator, dtype=x.dtype) * (most - least) + least
    moved: Tensor = (
        x + direction / direction.norm(dim=1, keepdim=True) * x.norm(dim=1, keepdim=True) * shares.sqrt()
    )
    return moved


@pytest.mark.parametrize("name", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize("d", [2, 8, 64, 512])
def test_at_the_bound_of_near_pairs_the_relative_error_is_within_1e_5(d: int, name: str) -> None:
    x = rows(400, d=d, dtype=torch.float32)
    for least, most in ((0.1, 0.126), (0.124, 0.15), (0.1, 0.3)):
        assert relative_error(x, neighbours(x, least, most), name) <= 1e-5
    assert relative_error(x, x * (1 + 0.355), name) <= 1e-5  # along the same ray, and longer
    assert relative_error(x * (1 + 0.355), x, name) <= 1e-5


@pytest.mark.parametrize("d", [3, 100])
@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-5, 1e-7])
def test_rows_near_each_other_keep_their_digits(d: int, gap: float) -> None:
    x = rows(300, d=d, dtype=torch.float32)
    y = x + gap * rows(300, seed=1, d=d, dtype=torch.float32)
    y[::7] = x[::7]
    for offset in (0.0, 100.0):  # added first and taken as given: it is the sums that are compared
        assert relative_error(x + offset, y + offset) <= 1e-5
        assert relative_error(x + offset, y + offset, "squared_euclidean") <= 1e-5


def test_cosines_are_within_the_rounding_of_unit_rows() -> None:
    x = rows(300, d=64, dtype=torch.float32)
    y = torch.cat([neighbours(x, 1e-8, 0.2), x * 3, -x])
    assert (pairwise(x, y, "cosine") - exactly(x, y, "cosine")).abs().max() <= 1e-6


def test_float64_keeps_its_digits_too() -> None:
    x = rows(200, d=64)
    y = torch.cat([neighbours(x, 0.1, 0.15), x + 1e-9 * rows(200, seed=2, d=64), x])
    assert relative_error(x, y) <= 1e-13


@pytest.mark.parametrize("elements", [2**21, 699 * 700])  # in one strip, or in two
@pytest.mark.parametrize("name", NAMES)
def test_both_orders_of_a_pair_and_equal_rows_are_alike(
    name: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", elements)
    x = rows(700, d=33, dtype=torch.float32)
    x[:200] = x[0] + 0.3 * x[:200]
    x[5], x[1] = x[699], x[350]
    d = pairwise(x, metric=name)
    assert torch.allclose(d, d.t(), rtol=1e-6, atol=0)
    assert torch.equal(d[5], d[699])
    assert torch.equal(d[1], d[350])
    assert d[1, 350] == d[699, 5] == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["one point", "two points", "many points", "a point and an outlier"])
def test_duplicates_in_any_number_are_at_zero_with_gradient_zero(kind: str, name: str) -> None:
    x = rows(160, d=40, dtype=torch.float32)
    points = {"one point": 1, "two points": 2, "many points": 40, "a point and an outlier": 1}[kind]
    x = x[torch.arange(160) % points].clone()
    if "outlier" in kind:
        x[7] = 1000 * x[7] + 1
    leaf = x.clone().requires_grad_()
    d = pairwise(leaf, x, name)
    same = (x.unsqueeze(1) == x).all(2)
    assert (d[same] == 0).all()
    assert torch.allclose(d.double(), exactly(x, x, name), rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(d[same].sum(), leaf)
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_near_and_far_pairs_agree_with_float64(name: str) -> None:
    x = rows(150, d=48, dtype=torch.float32)
    x[50:100] = x[:50] + 1e-4 * x[100:]
    x[149] = x[0]
    weights = torch.rand(150, 150, generator=torch.Generator().manual_seed(3))
    gradients: list[Tensor] = []
    for values in (x, x.double()):
        leaf = values.clone().requires_grad_()
        gradients += torch.autograd.grad((pairwise(leaf, metric=name) * weights).sum(), leaf)
    assert (gradients[0] - gradients[1]).norm() <= 1e-5 * gradients[1].norm()


@pytest.mark.parametrize("exponent", [-36, -25, 18, 30, 37])
def test_any_scale_gives_the_scaled_distances(exponent: int) -> None:
    x = rows(90, d=60, dtype=torch.float32)
    scale = 2.0 ** round(exponent / 0.30103)
    leaves = x.clone().requires_grad_(), (x * scale).requires_grad_()
    one, other = (pairwise(leaf, leaf.detach()) for leaf in leaves)
    assert torch.allclose(one, other / scale, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(d.sum(), leaf)[0] for d, leaf in zip((one, other), leaves, strict=True)]
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_rows_of_very_different_lengths_lose_none_of_the_short() -> None:
    x = rows(100, d=50, dtype=torch.float32) * torch.logspace(-15, 15, 100).unsqueeze(1)
    assert relative_error(x, x.flip(0)) <= 1e-5


def test_numbers_on_a_grid_have_exact_distances() -> None:
    x = torch.randint(-9, 9, (300, 20), generator=torch.Generator().manual_seed(0)).float() + 1000
    expected = exactly(x, x, "squared_euclidean").round()
    assert torch.equal(pairwise(x, metric="squared_euclidean").double(), expected)
    torch.testing.assert_close(pairwise(x).double(), expected.sqrt(), rtol=2e-7, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_all_differences_are_formed_where_most_pairs_are_near(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    formed: list[int] = []
    form = euclid.Euclidean._form

    def noted(*given: Any) -> Tensor:
        formed.append(1)
        return form(*given)

    monkeypatch.setattr(euclid.Euclidean, "_form", noted)
    x = torch.cat([rows(1, d=60), rows(1, seed=1, d=60)]).repeat(60, 1) + 1e-4 * rows(120, d=60)
    weights = torch.rand(120, 120, generator=torch.Generator().manual_seed(0))
    answers = []
    for values in (x.float(), x.float().double()):
        leaf = values.requires_grad_()
        d = pairwise(leaf, metric=name)
        answers.append((d, *torch.autograd.grad((d * weights).sum(), leaf)))
    assert len(formed) == 4  # twice forward, twice backward
    assert torch.allclose(answers[0][0].double(), exactly(x.float(), x.float(), name), rtol=1e-5, atol=1e-6)
    assert (answers[0][1] - answers[1][1]).norm() <= 1e-5 * answers[1][1].norm()


def test_a_row_changed_before_the_backward_pass_is_noticed() -> None:
    x = rows(100, d=60, dtype=torch.float32).requires_grad_()
    total = pairwise(x).sum()
    with torch.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(total, x)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 90),
    m=st.integers(1, 90),
    d=st.integers(50, 90),
    same=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape_agrees_with_float64(n: int, m: int, d: int, same: bool, seed: int) -> None:
    x, y = rows(n, seed, d, torch.float32), rows(m, seed + 1, d, torch.float32)
    y = x if same else y
    before = x.clone(), y.clone()
    assert torch.allclose(pairwise(x, y).double(), exactly(x, y, "euclidean"), rtol=1e-5, atol=1e-7)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
