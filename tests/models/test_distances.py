import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance as scipy_distance
from scipy.special import rel_entr
from sklearn.metrics import pairwise_distances
from torch import Tensor

from models import tiles
from models.distances import (
    METRICS,
    Metric,
    l2_normalize,
    matrix_distance,
    paired,
    pairwise,
    reduce_distances,
)
from models.errors import DomainError, InputError, NonFiniteError, OptionError, OverflowedError, ShapeError
from tests.models import oracles

DEGREE_ONE = [Metric("euclidean"), Metric("manhattan"), Metric("chebyshev"), Metric("minkowski", 3.0)]
DISTRIBUTIONS = ("kl_divergence", "cross_entropy")


def metric_named(name: str) -> Metric:
    return Metric(name, 3.0) if name == "minkowski" else Metric(name)


def rows_for(name: str, n: int, d: int = 5, seed: int = 0) -> Tensor:
    """Return (n, d) float64 rows in the metric's domain."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, dtype=torch.float64, generator=generator)
    if name in DISTRIBUTIONS:
        return x.softmax(1)
    return x.round() if name == "hamming" else x


def assert_near(actual: Tensor, expected: object, relative: float, absolute: float = 0.0) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), np.asarray(expected), rtol=relative, atol=absolute)


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
        monkeypatch.setattr(tiles, "tile_elements", lambda _, elements=elements: elements)
        for tiled, expected in zip(answers(), whole, strict=True):
            assert_near(tiled, expected.detach(), 1e-12, 1e-14)


@pytest.mark.parametrize("metric", DEGREE_ONE, ids=lambda metric: metric.name)
@pytest.mark.parametrize("exponent", [-30, -20, 20, 30, 37])
def test_degree_one_metrics_follow_any_scale(metric: Metric, exponent: int) -> None:
    x, scale = rows_for("euclidean", 4), 10.0**exponent
    x = x / x.abs().max()
    scaled = (x * scale).float().requires_grad_()
    d = pairwise(scaled, metric=metric)
    assert_near(d.double() / scale, pairwise(x, metric=metric), 3e-6, 1e-7)
    near, far = (torch.autograd.grad(pairwise(v, metric=metric)[0, 1], v)[0] for v in (scaled, x.requires_grad_()))
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


def test_an_answer_beyond_float32_is_an_error_that_names_the_rows() -> None:
    x = torch.tensor([[0.0], [1e30]])
    with pytest.raises(OverflowedError, match="squared_euclidean of rows 0 and 1"):
        pairwise(x, metric="squared_euclidean")
    with pytest.raises(OverflowedError, match="squared_euclidean of rows 1 and 1"):
        paired(x, x.flip(0) * torch.tensor([[0.0], [1.0]]) - x, "squared_euclidean")
    with pytest.raises(OverflowedError):
        pairwise(torch.tensor([[3e38, 0.0], [-3e38, 0.0]]))
    assert pairwise(x.double(), metric="squared_euclidean")[0, 1] == pytest.approx(1e60)


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


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named(bad: float) -> None:
    y = torch.zeros(4, 2)
    y[2, 1] = bad
    with pytest.raises(NonFiniteError, match="Row 2 of y") as error:
        pairwise(torch.zeros(1, 2), y)
    assert (error.value.argument, error.value.row) == ("y", 2)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (torch.zeros(3), torch.zeros(1, 3), "x must have 2 dimensions"),
        (torch.zeros(1, 3), torch.zeros(1, 1, 3), "not 3"),
        (torch.zeros(1, 3), torch.zeros(2, 4), "y has 4 columns where x has 3"),
        (torch.zeros(1, 0), torch.zeros(1, 0), "without columns"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x: Tensor, y: Tensor, words: str) -> None:
    for function in (pairwise, paired, matrix_distance):
        with pytest.raises(ShapeError, match=words):
            function(x, y)


def test_paired_needs_as_many_rows() -> None:
    with pytest.raises(ShapeError, match="x has 2, y has 3") as error:
        paired(torch.zeros(2, 1), torch.zeros(3, 1))
    assert (error.value.expected, error.value.got) == (2, 3)


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(DomainError, match="complex"):
        pairwise(torch.zeros(1, 1, dtype=torch.complex64))


def test_a_zero_row_has_no_cosine() -> None:
    y = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(DomainError, match="Row 1 of y is zero"):
        pairwise(y[:1], y, "cosine")
    with pytest.raises(DomainError, match="Row 1 of x is zero"):
        l2_normalize(y)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("row", [[0.5, 0.6], [-0.1, 1.1], [0.5, 0.4998], [0.0, 0.0]])
def test_rows_that_are_no_distribution_are_refused(name: str, row: list[float]) -> None:
    good = torch.tensor([[0.5, 0.5]])
    with pytest.raises(DomainError, match="Row 1 of y is no distribution"):
        pairwise(good, torch.cat([good, torch.tensor([row])]), name)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_q_of_zero_under_p_above_zero_names_the_pair(name: str) -> None:
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    q = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    with pytest.raises(DomainError, match=r"row 1 \(P\) and row 1 \(Q\) is infinite"):
        pairwise(p, q, name)
    with pytest.raises(DomainError, match=r"row 1 \(P\) and row 1 \(Q\) is infinite"):
        paired(p, q, name)
    assert torch.isfinite(pairwise(q, p[1:], name)).all()


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


def test_matrix_and_row_metrics_do_not_stand_in_for_each_other() -> None:
    x = torch.zeros(2, 2)
    for function in (pairwise, paired):
        with pytest.raises(OptionError, match="compares two whole matrices"):
            function(x, x, "nuclear")
    with pytest.raises(OptionError, match="compares rows"):
        matrix_distance(x, x, "euclidean")
    with pytest.raises(ShapeError, match=r"\(2, 2\), y is \(1, 2\)"):
        matrix_distance(x, x[:1])
    with pytest.raises(OverflowedError):
        matrix_distance(x + 3e38, x - 3e38)


def test_an_unknown_metric_is_answered_with_the_closest_and_the_list() -> None:
    with pytest.raises(OptionError, match=r"Did you mean 'euclidean'\? The metrics are euclidean, .*nuclear"):
        Metric("euclidian")


@pytest.mark.parametrize("p", [0.0, -1.0, math.nan])
def test_an_order_that_is_not_positive_is_refused(p: float) -> None:
    with pytest.raises(OptionError, match="p must be greater than 0"):
        Metric("minkowski", p)


def test_only_minkowski_takes_an_order() -> None:
    with pytest.raises(OptionError, match="manhattan takes no p"):
        Metric("manhattan", 3.0)


def test_reductions_fold_into_one_number() -> None:
    d = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert reduce_distances(d) is d
    assert reduce_distances(d, "mean").item() == 3
    assert reduce_distances(d, "sum").item() == 12
    assert reduce_distances(d * 1e38 / 2, "mean").item() == pytest.approx(1.5e38)
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
    assert torch.equal(pairwise(x[order], y, metric_named(name)), d[order])
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert (d >= 0).all()


@pytest.mark.parametrize("function", [pairwise, paired, matrix_distance])
def test_every_refusal_is_an_input_error(function: Callable[..., Tensor]) -> None:
    with pytest.raises(InputError):
        function(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="no metric 'no'"):
        function(torch.zeros(1, 2), torch.zeros(1, 2), "no")
