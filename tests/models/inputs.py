"""Rows in each metric's domain, and plain random ones; and the forms that compute them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.distances import Metric

DISTRIBUTIONS = ("kl_divergence", "cross_entropy")
# Of the fixture `form`: the one for small batches has no wider type for float64, and leaves it to the others.
FORMS_OF_FLOAT64 = pytest.mark.parametrize("form", ["differences", "products", "sorting"], indirect=True)


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
    expected = expected.detach() if isinstance(expected, Tensor) else expected
    np.testing.assert_allclose(actual.detach().numpy(), np.asarray(expected), rtol=relative, atol=absolute)


def rows(n: int, seed: int = 0, d: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(seed))
