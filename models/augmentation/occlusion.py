"""What stands before the thing that a picture shows."""

import math

import numpy as np
from torch import Tensor

__all__ = ["erase"]


def erase(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Cover a rectangle of half of the pictures with one grey, in place.

    Args:
        x: (B, C, H, W) float32, from 0 to 255; overwritten.
        rng: where every draw comes from.

    Returns:
        x.

    Source:
        Zhong et al., Random Erasing Data Augmentation, 2017.
    """
    height, width = x.shape[2:]
    for index in np.flatnonzero(rng.random(len(x)) < 0.5):
        area, aspect = rng.uniform(0.02, 0.2), math.exp(rng.uniform(-1, 1))
        h = min(height, max(1, round(height * math.sqrt(area * aspect))))
        w = min(width, max(1, round(width * math.sqrt(area / aspect))))
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        x[index, :, top : top + h, left : left + w] = rng.uniform(0, 255)
    return x
