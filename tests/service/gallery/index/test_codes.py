"""Codes of rows: how far off they are is known, in whatever order they lie."""

import numpy as np
import pytest

from service.gallery.index.codes import ZERO, Codes, Order
from tests.service.gallery.index.test_flat import rows

ROWS = 2_000


@pytest.mark.parametrize("dimension", [1, 7, 16, 100])
@pytest.mark.parametrize("scale", [1e-35, 1e-3, 1.0, 1e30])
def test_no_row_is_farther_from_its_code_than_is_said(dimension: int, scale: float) -> None:
    vectors = rows(1, (ROWS, dimension)) * np.float32(scale)
    codes = Codes.of(vectors)
    assert codes is not None
    whole = codes.values.astype(np.float64) - ZERO
    assert codes.values.shape == (ROWS, -(-dimension // 16) * 16)
    assert not whole[:, dimension:].any()
    apart = np.linalg.norm(vectors.astype(np.float64) - whole[:, :dimension] / codes.scale, axis=1)
    assert 0.99 * codes.error <= apart.max() <= codes.error
    assert np.linalg.norm(whole, axis=1).max() == pytest.approx(codes.longest)
    assert np.abs(whole).max() == 127  # all eight bits are used


@pytest.mark.parametrize("value", [0.0, 1e-44])
def test_rows_that_are_all_but_zero_have_none(value: float) -> None:
    assert Codes.of(np.full((10, 4), value, np.float32)) is None


def test_they_are_the_same_in_another_order() -> None:
    vectors = rows(1, (ROWS, 24))
    codes = Codes.of(vectors)
    assert codes is not None
    one, other = (np.random.default_rng(seed).permutation(ROWS) for seed in (1, 2))
    laid = codes.laid(Order.by("n", one)).laid(Order.by("m", other))
    np.testing.assert_array_equal(laid.values, codes.values[other])
    assert (laid.scale, laid.error, laid.longest) == (codes.scale, codes.error, codes.longest)
    assert laid.nbytes == Codes.bytes_of(vectors)
    assert codes.nbytes == ROWS * 32
