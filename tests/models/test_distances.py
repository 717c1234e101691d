import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance as scipy_distance
from scipy.special import rel_entr
from sklearn.metrics import pairwise_distances
from torch import Tensor

from models import comparisons, euclid
from models.distances import (
    METRICS,
    Metric,
    l2_normalize,
    matrix_distance,
    paired,
    pairwise,
    reduce_distances,
)
from models.errors import OptionError, OverflowedError, ShapeError
from tests.models import oracles
from tests.models.inputs import DISTRIBUTIONS, assert_near, metric_named, rows_for

DEGREE_ONE = [Metric("euclidean"), Metric("manhattan"), Metric("chebyshev"), Metric("minkowski", 3.0)]
BOTH_FORMS = pytest.mark.parametrize("form", ["small", "products"], indirect=True)  # batches have two more


@pytest.mark.usefixtures("form")
@BOTH_FORMS
@pytest.mark.parametrize("name", METRICS)
def test_agrees_with_plain_loops(name: str) -> None:
    x, y = rows_for(name, 4), rows_for(name, 3, seed=1)
    expected = oracles.matrix(x.tolist(), y.tolist(), oracles.DISTANCES[name])
    assert_near(pairwise(x, y, metric_named(name)), expected, 1e-12, 1e-15)
    assert_near(paired(x[:3], y, metric_named(name)), np.diagonal(expected), 1e-12, 1e-15)
    single = pairwise(x.float(), y.float(), metric_named(name))
    assert single.dtype == torch.float32
    assert_near(single, expected, 2e-6, 1e-6)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("euclidean", "euclidean"),
        ("squared_euclidean", "sqeuclidean"),
        ("cosine", "cosine"),
        ("manhattan", "manhattan"),
        ("chebyshev", "chebyshev"),
        ("hamming", "hamming"),
    ],
)
def test_agrees_with_scikit_learn(name: str, theirs: str) -> None:
    x, y = rows_for(name, 20, 33), rows_for(name, 30, 33, seed=1)
    assert_near(pairwise(x, y, name), pairwise_distances(x.numpy(), y.numpy(), metric=theirs), 1e-9, 1e-12)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, 7.5])
def test_minkowski_agrees_with_scipy(p: float) -> None:
    x, y = rows_for("minkowski", 6, 9), rows_for("minkowski", 5, 9, seed=1)
    expected = scipy_distance.cdist(x.numpy(), y.numpy(), "minkowski", p=p)
    assert_near(pairwise(x, y, Metric("minkowski", p)), expected, 1e-12)


def test_kl_agrees_with_scipy_on_the_simplex_boundary() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    q = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], dtype=torch.float64)
    expected = rel_entr(p.numpy()[:, None], q.numpy()[None]).sum(-1)
    assert_near(pairwise(p, q, "kl_divergence"), expected, 1e-14)


def test_hamming_times_the_columns_is_the_zero_norm() -> None:
    x = rows_for("hamming", 7)
    assert_near(pairwise(x, metric="hamming") * 5, torch.cdist(x, x, 0.0), 1e-15)


def test_cross_entropy_is_entropy_plus_kl() -> None:
    p, q = rows_for("kl_divergence", 4), rows_for("kl_divergence", 3, seed=1)
    entropy = -(p * p.log()).sum(1, keepdim=True)
    assert_near(pairwise(p, q, "cross_entropy"), entropy + pairwise(p, q, "kl_divergence"), 1e-13)


def test_minkowski_of_infinite_order_is_chebyshev() -> None:
    x = rows_for("minkowski", 6)
    assert torch.equal(pairwise(x, metric=Metric("minkowski", math.inf)), pairwise(x, metric="chebyshev"))


@pytest.mark.parametrize("p", [0.05, 50.0, 1000.0])
def test_minkowski_of_an_extreme_order_neither_overflows_nor_vanishes(p: float) -> None:
    x = torch.tensor([[0.0, 0.0], [0.001, 0.002]], requires_grad=True)
    d = pairwise(x, metric=Metric("minkowski", p))[0, 1]
    assert d.item() == pytest.approx(0.002 * (1 + 0.5**p) ** (1 / p), rel=1e-5)
    (gradient,) = torch.autograd.grad(d, x)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0.5


@pytest.mark.usefixtures("form")
@BOTH_FORMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [name for name in METRICS if name != "cross_entropy"])
def test_equal_rows_are_at_zero_with_gradient_zero(name: str, dtype: torch.dtype) -> None:
    x = rows_for(name, 3, 512).to(dtype)
    x = torch.cat([x, x]).requires_grad_()
    d = pairwise(x, x.detach(), metric_named(name))
    same = torch.eye(3, dtype=torch.bool).repeat(2, 2)
    assert (d[same] == 0).all()
    assert (d >= 0).all()
    (gradient,) = torch.autograd.grad(d[same].sum(), x)
    assert (gradient == 0).all()
    # Another layout of the same rows, and one row against many.
    assert (paired(x.detach(), x.detach().t().contiguous().t(), metric_named(name)) == 0).all()
    assert pairwise(x[:1].detach(), x.detach(), metric_named(name))[0, [0, 3]].tolist() == [0, 0]


@pytest.mark.usefixtures("form")
@BOTH_FORMS
@pytest.mark.parametrize("name", METRICS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    x, y = rows_for(name, 3, 4).requires_grad_(), rows_for(name, 2, 4, seed=1).requires_grad_()
    if name in DISTRIBUTIONS:  # off the simplex a finite difference would be refused
        x, y = x.detach().log().requires_grad_(), y.detach().log().requires_grad_()

    def rows(values: Tensor) -> Tensor:
        return values.softmax(1) if name in DISTRIBUTIONS else values

    metric = metric_named(name)
    assert torch.autograd.gradcheck(lambda a, b: pairwise(rows(a), rows(b), metric), (x, y))
    assert torch.autograd.gradcheck(lambda a, b: paired(rows(a)[:2], rows(b), metric), (x, y))


@pytest.mark.parametrize("name", METRICS)
def test_tiles_do_not_change_values_or_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = metric_named(name)
    x, y = rows_for(name, 11).requires_grad_(), rows_for(name, 7, seed=1).requires_grad_()
    weights = torch.rand(11, 7, dtype=torch.float64)

    def answers() -> list[Tensor]:
        d, e = pairwise(x, y, metric), paired(x[:7], y, metric)
        return [d, e, *torch.autograd.grad((d * weights).sum() + (e * e).sum(), (x, y))]

    whole = answers()
    for elements in (1, 10, 35):
        monkeypatch.setattr(comparisons, "tile_elements", lambda _, elements=elements: elements)
        for tiled, expected in zip(answers(), whole, strict=True):
            assert_near(tiled, expected, 1e-12, 1e-14)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_larger_than_the_answer_or_a_tile_is_held(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "tile_elements", lambda _: 1000)
    monkeypatch.setattr(euclid, "_SMALL", 0)
    metric = metric_named(name)
    x = rows_for(name, 60, 16).requires_grad_()
    with oracles.LargestTensor() as largest:
        torch.autograd.grad(pairwise(x, metric=metric).sum(), x)
    assert largest.elements == 60 * 60  # N x M x D is 16 times that


@pytest.mark.usefixtures("form")
@BOTH_FORMS
@pytest.mark.parametrize("metric", DEGREE_ONE, ids=lambda metric: metric.name)
@pytest.mark.parametrize("exponent", [-30, -20, 20, 30, 37])
def test_degree_one_metrics_follow_any_scale(metric: Metric, exponent: int) -> None:
    x, scale = rows_for("euclidean", 4), 10.0**exponent
    x = x / x.abs().max()
    scaled = (x * scale).float().requires_grad_()
    d = pairwise(scaled, metric=metric)
    assert_near(d.double() / scale, pairwise(x, metric=metric), 3e-6, 1e-7)
    near, far = (
        torch.autograd.grad(pairwise(v, metric=metric)[0, 1], v)[0] for v in (scaled, x.requires_grad_())
    )
    assert_near(near, far, 1e-4, 1e-5)
    assert_near(paired(scaled[:2], scaled[2:], metric).double() / scale, paired(x[:2], x[2:], metric), 3e-6)


def test_small_rows_beside_large_ones_keep_their_distance() -> None:
    x = torch.tensor([[1e-3, 0.0], [3e-3, 0.0], [1e30, 0.0]])
    for metric in DEGREE_ONE:
        assert_near(pairwise(x, metric=metric)[0], [0.0, 2e-3, 1e30], 1e-6)


def test_cosine_and_normalised_rows_follow_any_scale() -> None:
    x = torch.tensor([[3e30, 4e30], [3e-40, 4e-40], [-3.0, -4.0], [3e38, -3e38]])
    assert_near(l2_normalize(x)[[0, 2]], [[0.6, 0.8], [-0.6, -0.8]], 1e-6)
    assert_near(l2_normalize(x).norm(dim=1), [1, 1, 1, 1], 1e-5)
    d = pairwise(x, metric="cosine")
    assert d[0, 1] == pytest.approx(0, abs=1e-9)
    assert d[0, 2] == pytest.approx(2, rel=1e-6)
    assert (d <= 2).all()


def test_cosine_keeps_its_digits_near_zero() -> None:
    angle = 1e-4
    x = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    assert pairwise(x, metric="cosine")[0, 1].item() == pytest.approx(angle**2 / 2, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_other_dtypes_compute_in_float32(dtype: torch.dtype) -> None:
    x = torch.tensor([[0, 1], [1, 1], [3, 5]]).to(dtype)
    d = pairwise(x)
    assert d.dtype == torch.float32
    assert torch.equal(d, pairwise(x.float()))
    assert pairwise(x, x.double()).dtype == torch.float64


def test_float16_inputs_receive_float16_gradients() -> None:
    x = torch.tensor([[0.0, 1.0], [2.0, 1.0]], dtype=torch.float16, requires_grad=True)
    (gradient,) = torch.autograd.grad(pairwise(x)[0, 1], x)
    assert gradient.dtype == torch.float16
    assert gradient.tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize("name", METRICS)
def test_layout_does_not_matter(name: str) -> None:
    x = rows_for(name, 6, 4)
    strided = torch.stack([x, -x], dim=2).permute(1, 2, 0).contiguous().permute(2, 1, 0)[:, 0]
    assert not strided.is_contiguous()
    assert torch.equal(pairwise(strided, metric=metric_named(name)), pairwise(x, metric=metric_named(name)))


@pytest.mark.parametrize("name", METRICS)
def test_no_rows_give_an_empty_answer(name: str) -> None:
    none, x = torch.zeros(0, 5, requires_grad=True), rows_for(name, 2).float()
    metric = metric_named(name)
    assert pairwise(none, x, metric).shape == (0, 2)
    assert pairwise(x, none, metric).shape == (2, 0)
    assert pairwise(none, metric=metric).shape == (0, 0)
    d = paired(none, none, metric)
    assert d.shape == (0,)
    assert torch.autograd.grad(d.sum(), none)[0].shape == (0, 5)


def test_kl_of_subnormal_probabilities_is_finite() -> None:
    p, q = torch.tensor([[1.0, 0.0]]), torch.tensor([[1e-40, 1.0]])
    assert pairwise(p, q, "kl_divergence").item() == pytest.approx(40 * math.log(10), rel=1e-4)


def test_a_coordinate_without_probability_adds_no_gradient() -> None:
    p = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([[0.5, 0.5]], dtype=torch.float64, requires_grad=True)
    p_gradient, q_gradient = torch.autograd.grad(pairwise(p, q, "kl_divergence").sum(), (p, q))
    assert_near(p_gradient, [[0.0, 1 + math.log(2)]], 1e-12)
    assert_near(q_gradient, [[0.0, -2.0]], 1e-12)


@pytest.mark.parametrize(("name", "order"), [("frobenius", "fro"), ("nuclear", "nuc")])
def test_matrix_distances_agree_with_numpy(name: str, order: str) -> None:
    x, y = rows_for("euclidean", 4, 6), rows_for("euclidean", 4, 6, seed=1)
    expected = np.linalg.norm((x - y).numpy(), order)  # type: ignore[call-overload]
    assert matrix_distance(x, y, name).item() == pytest.approx(expected, rel=1e-12)
    large = matrix_distance((x * 1e30).float(), (y * 1e30).float(), name).item()
    assert large == pytest.approx(expected * 1e30, rel=1e-5)
    assert torch.autograd.gradcheck(lambda a: matrix_distance(a, y, name), x.requires_grad_())
    (gradient,) = torch.autograd.grad(matrix_distance(x, x.detach(), name), x)
    assert (gradient == 0).all()
    assert matrix_distance(x[:0], y[:0], name).item() == 0


def test_reductions_fold_into_one_number() -> None:
    d = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert reduce_distances(d) is d
    assert reduce_distances(d, "mean").item() == 3
    assert reduce_distances(d, "sum").item() == 12
    assert reduce_distances(d * 5e37, "mean").item() == pytest.approx(1.5e38)
    assert reduce_distances(d[:0], "sum").item() == 0
    with pytest.raises(ShapeError, match="no distances"):
        reduce_distances(d[:0], "mean")
    with pytest.raises(OverflowedError):
        reduce_distances(d * 5e37, "sum")
    with pytest.raises(OptionError, match="'max'"):
        reduce_distances(d, "max")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(METRICS), st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_inputs_stay_as_they_are_and_rows_may_be_permuted(name: str, n: int, m: int, seed: int) -> None:
    x, y = rows_for(name, n, seed=seed).abs() + 0.1, rows_for(name, m, seed=seed + 1).abs() + 0.1
    if name in DISTRIBUTIONS:
        x, y = x / x.sum(1, keepdim=True), y / y.sum(1, keepdim=True)
    before = x.clone(), y.clone()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    d = pairwise(x, y, metric_named(name))
    torch.testing.assert_close(pairwise(x[order], y, metric_named(name)), d[order], rtol=1e-14, atol=0)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert (d >= 0).all()
