"""Random numbers of NumPy's generator as tensors; everything that changes pictures draws from these."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["normal", "uniform"]


def uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw float32 numbers between low and high."""
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    """Draw float32 numbers of mean 0 and standard deviation 1."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
