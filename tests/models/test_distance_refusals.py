import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.distances import Metric, l2_normalize, matrix_distance, paired, pairwise
from models.errors import DomainError, InputError, NonFiniteError, OptionError, OverflowedError, ShapeError
from tests.models.inputs import DISTRIBUTIONS


def test_an_answer_beyond_float32_is_an_error_that_names_the_rows() -> None:
    x = torch.tensor([[0.0], [1e30]])
    with pytest.raises(OverflowedError, match="squared_euclidean of row 0 and row 1"):
        pairwise(x, metric="squared_euclidean")
    with pytest.raises(OverflowedError, match="squared_euclidean of row 1 and row 1"):
        paired(x, x.flip(0) * torch.tensor([[0.0], [1.0]]) - x, "squared_euclidean")
    with pytest.raises(OverflowedError):
        pairwise(torch.tensor([[3e38, 0.0], [-3e38, 0.0]]))
    assert pairwise(x.double(), metric="squared_euclidean")[0, 1] == pytest.approx(1e60)


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


@pytest.mark.parametrize("function", [pairwise, paired, matrix_distance])
def test_every_refusal_is_an_input_error(function: Callable[..., Tensor]) -> None:
    with pytest.raises(InputError):
        function(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="no metric 'no'"):
        function(torch.zeros(1, 2), torch.zeros(1, 2), "no")


@pytest.mark.parametrize(
    "given", [[[1.0]], np.ones((2, 2)), torch.eye(2).to_sparse(), torch.ones(2, 2, device="meta")]
)
def test_what_is_no_dense_tensor_is_refused_with_what_to_do(given: Any) -> None:
    with pytest.raises(ShapeError, match=r"must be a dense torch tensor.* torch\.as_tensor makes one"):
        pairwise(given)
