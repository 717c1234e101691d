"""How rows are prepared to be compared."""

import numpy as np
import pytest

from service.gallery.index.measuring import Measure


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_scaled_and_those_that_were_given_stay(dtype: type[np.floating]) -> None:
    rows = np.random.default_rng(0).standard_normal((3, 5)).astype(dtype)
    given = rows.copy()
    prepared = Measure("cosine").prepared(rows)
    exact = given.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared, exact, rtol=1e-7)
    np.testing.assert_array_equal(rows, given)
