"""Pictures changed as another camera would change them, so that a network learns what stays.

Everything is drawn from one NumPy generator, so a step's pictures depend on its seed alone.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["augment"]


def augment(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a changed copy: pose, sharpness, light and colour, and a rectangle that hides a part.

    Args:
        images: (B, 3, H, W) uint8 or float, from 0 to 255; not modified.
        rng: where every draw comes from.

    Returns:
        (B, 3, H, W) float32, from 0 to 255.
    """
    x = _warp(images.float(), rng)
    x = _soften(x, rng)
    x = _relight(x, rng).clamp(0, 255)
    return _erase(x, rng)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw uniform numbers as a float32 tensor."""
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def _warp(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of the pictures; rotate, scale, stretch and shift each a little."""
    count = len(x)
    mirrored = 1 - 2 * torch.from_numpy(rng.integers(0, 2, count).astype(np.float32))
    angle = _uniform(rng, -math.pi / 24, math.pi / 24, count)
    scale = torch.exp(_uniform(rng, -0.2, 0.15, count))
    stretch = torch.exp(_uniform(rng, -0.1, 0.1, count))
    rows = [
        torch.stack([mirrored * scale * stretch * angle.cos(), -scale * angle.sin()], dim=1),
        torch.stack([mirrored * scale * angle.sin(), scale / stretch * angle.cos()], dim=1),
    ]
    shift = _uniform(rng, -0.12, 0.12, count, 2)
    theta = torch.cat([torch.stack(rows, dim=1), shift[:, :, None]], dim=2)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _soften(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur half of the pictures, each by its own share: cameras differ in sharpness."""
    share = _uniform(rng, -1, 1, len(x), 1, 1, 1).clamp(min=0)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.lerp(x, blurred, share)


def _relight(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Change brightness, the balance of the channels, contrast and saturation."""
    count = len(x)
    gain = torch.exp(_uniform(rng, -0.3, 0.3, count, 1, 1, 1) + _uniform(rng, -0.08, 0.08, count, 3, 1, 1))
    x = x * gain
    level = x.mean(dim=(1, 2, 3), keepdim=True)
    x = torch.lerp(level, x, torch.exp(_uniform(rng, -0.3, 0.3, count, 1, 1, 1)))
    grey = x.mean(dim=1, keepdim=True)
    return torch.lerp(grey, x, _uniform(rng, 0.6, 1.4, count, 1, 1, 1))


def _erase(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Cover a rectangle of half of the pictures with one grey.

    Source: Zhong et al., Random Erasing Data Augmentation, 2017.
    """
    height, width = x.shape[2:]
    for index in np.flatnonzero(rng.random(len(x)) < 0.5):
        area, aspect = rng.uniform(0.02, 0.2), math.exp(rng.uniform(-1, 1))
        h = min(height, max(1, round(height * math.sqrt(area * aspect))))
        w = min(width, max(1, round(width * math.sqrt(area / aspect))))
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        x[index, :, top : top + h, left : left + w] = rng.uniform(0, 255)
    return x
