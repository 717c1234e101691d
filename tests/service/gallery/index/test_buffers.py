"""Rows that are taken out are those that were there, wherever these lie."""

import numpy as np
import pytest

from service.gallery.index.buffers import taken


@pytest.mark.parametrize("offset", [0, 1, 45])
def test_rows_at_any_address_are_copied(offset: int) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    memory = np.zeros(offset + rows.nbytes, np.uint8)
    memory[offset:] = rows.view(np.uint8).ravel()
    lying = memory[offset:].view(np.float32).reshape(rows.shape)
    for positions in (np.array([3, 0, 19, 3]), np.array([[1, 2], [2, 5]]), np.empty(0, np.int64)):
        copied = taken(lying, positions)
        assert copied.flags.aligned
        assert copied.dtype == np.float32
        np.testing.assert_array_equal(copied, rows[positions])
        assert not np.shares_memory(copied, memory)
