"""Distances by one call: each kind is that of its own function, and what does not go together is refused."""

from typing import Any

import pytest
import torch

from models.comparing import Comparing, compare
from models.distances import l2_normalize, matrix_distance, paired, pairwise
from models.errors import DomainError, OptionError

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(6, 4, generator=GENERATOR), torch.randn(6, 4, generator=GENERATOR)


def test_each_kind_is_that_of_its_function() -> None:
    assert torch.equal(compare(X, Y, Comparing()), pairwise(X, Y))
    assert torch.equal(compare(X, None, Comparing(name="manhattan")), pairwise(X, None, "manhattan"))
    assert torch.equal(compare(X, Y, Comparing(p=1.0, paired=True)), paired(X, Y, "manhattan"))
    assert torch.equal(compare(X, Y, Comparing(name="nuclear")), matrix_distance(X, Y, "nuclear"))
    assert compare(X, None, Comparing(name="frobenius")) == 0


def test_rows_are_normalised_first_and_not_in_place() -> None:
    before = X.clone()
    found = compare(X, Y, Comparing(normalize=True))
    torch.testing.assert_close(found, pairwise(l2_normalize(X), l2_normalize(Y)))
    assert torch.equal(X, before)


def test_a_row_that_cannot_be_normalised_is_named_by_its_input() -> None:
    with pytest.raises(DomainError, match="Row 1 of y is zero") as caught:
        compare(X[:2], torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]), Comparing(normalize=True))
    assert (caught.value.argument, caught.value.row) == ("y", 1)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"name": "euclid"}, "metric"),
        ({"name": "cosine", "p": 3.0}, "p"),
        ({"name": "nuclear", "paired": True}, "paired"),
        ({"name": "frobenius", "reduction": "mean"}, "reduction"),
        ({"name": "cross_entropy", "normalize": True}, "normalize"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(OptionError) as caught:
        Comparing(**options)
    assert caught.value.argument == argument


def test_pairs_need_two_inputs() -> None:
    with pytest.raises(OptionError, match="Give y") as caught:
        compare(X, None, Comparing(paired=True))
    assert caught.value.argument == "y"
