"""Crops as another camera would have taken them: pose, sharpness, light, colour, and a thing in the way."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.augmentation.draws import uniform
from models.augmentation.occlusion import erase

__all__ = ["another_camera"]


def another_camera(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a changed copy: pose, sharpness, light and colour, and a rectangle that hides a part.

    Args:
        images: (B, C, H, W) uint8 or float, from 0 to 255; not modified.
        rng: where every draw comes from.

    Returns:
        (B, C, H, W) float32, from 0 to 255.
    """
    x = _warp(images.float(), rng)
    x = _soften(x, rng)
    x = _relight(x, rng).clamp(0, 255)
    return erase(x, rng)


def _warp(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of the pictures; rotate, scale, stretch and shift each a little."""
    count = len(x)
    mirrored = 1 - 2 * torch.from_numpy(rng.integers(0, 2, count).astype(np.float32))
    angle = uniform(rng, -math.pi / 24, math.pi / 24, count)
    scale = torch.exp(uniform(rng, -0.2, 0.15, count))
    stretch = torch.exp(uniform(rng, -0.1, 0.1, count))
    rows = [
        torch.stack([mirrored * scale * stretch * angle.cos(), -scale * angle.sin()], dim=1),
        torch.stack([mirrored * scale * angle.sin(), scale / stretch * angle.cos()], dim=1),
    ]
    shift = uniform(rng, -0.12, 0.12, count, 2)
    theta = torch.cat([torch.stack(rows, dim=1), shift[:, :, None]], dim=2)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _soften(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur half of the pictures, each by its own share: cameras differ in sharpness."""
    share = uniform(rng, -1, 1, len(x), 1, 1, 1).clamp(min=0)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.lerp(x, blurred, share)


def _relight(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Change brightness, the balance of the channels, contrast and saturation."""
    count = len(x)
    brightness = uniform(rng, -0.3, 0.3, count, 1, 1, 1)
    balance = uniform(rng, -0.08, 0.08, count, x.shape[1], 1, 1)
    x = x * torch.exp(brightness + balance)
    level = x.mean(dim=(1, 2, 3), keepdim=True)
    x = torch.lerp(level, x, torch.exp(uniform(rng, -0.3, 0.3, count, 1, 1, 1)))
    grey = x.mean(dim=1, keepdim=True)
    return torch.lerp(grey, x, uniform(rng, 0.6, 1.4, count, 1, 1, 1))
