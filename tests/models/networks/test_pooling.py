"""Generalised-mean pooling against its formula in a plain loop."""

import math

import pytest
import torch

from models.networks.pooling import GeM


@pytest.mark.parametrize("p", [1.0, 3.0, 6.5])
def test_it_is_the_formula(p: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = [
        [(sum(value**p for value in plane.flatten().tolist()) / 20) ** (1 / p) for plane in picture]
        for picture in x
    ]
    torch.testing.assert_close(GeM(p)(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_from_one_to_large_exponents_it_goes_from_the_mean_to_the_maximum() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64) + 0.1
    torch.testing.assert_close(GeM(1.0)(x), x.mean(dim=(2, 3)))
    torch.testing.assert_close(GeM(300.0)(x), x.amax(dim=(2, 3)), rtol=0.02, atol=0)


def test_zeros_and_negatives_give_finite_gradients() -> None:
    pooling = GeM()
    x = torch.tensor([[[[0.0, -1.0], [0.0, 0.0]]]], requires_grad=True)
    pooled = pooling(x)
    pooled.sum().backward()
    assert math.isclose(pooled.item(), pooling.eps, rel_tol=1e-5)
    assert x.grad is not None
    assert pooling.p.grad is not None
    assert bool(x.grad.isfinite().all())
    assert bool(pooling.p.grad.isfinite().all())


def test_half_precision_does_not_overflow() -> None:
    pooled = GeM()(torch.full((1, 1, 2, 2), 100.0, dtype=torch.float16))
    torch.testing.assert_close(pooled, torch.tensor([[100.0]]), rtol=1e-3, atol=0)


def test_the_gradient_of_the_exponent_is_the_differences() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    pooling = GeM().double()
    pooling(x).sum().backward()
    step = 2**-10  # 3 + step is exact in float32, where the exponent starts
    rise = GeM(3 + step).double()(x).sum() - GeM(3 - step).double()(x).sum()
    assert pooling.p.grad is not None
    torch.testing.assert_close(pooling.p.grad, (rise / (2 * step)).detach().reshape(1), rtol=1e-4, atol=0)
