"""Drawn characters as another hand would have drawn them: slant, size, place, wavering, and the pen."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.augmentation.draws import normal, uniform

__all__ = ["redraw"]

_WAVES = 5  # control points a side of the elastic displacement
_WAVER = 0.055  # its standard deviation, in half widths of the picture


def redraw(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a changed copy of dark strokes on light paper; what is uncovered is paper.

    Args:
        images: (B, C, H, W) uint8 or float, from 0 to 255; not modified.
        rng: where every draw comes from.

    Returns:
        (B, C, H, W) float32, from 0 to 255.

    Source:
        Simard et al., Best Practices for Convolutional Neural Networks, 2003, section 2 (elastic distortion).
    """
    ink = 255 - images.float()
    grid = F.affine_grid(_affine(len(ink), rng), list(ink.shape), align_corners=False)
    waves = normal(rng, len(ink), 2, _WAVES, _WAVES) * _WAVER
    waver = F.interpolate(waves, size=ink.shape[2:], mode="bicubic", align_corners=False)
    moved = F.grid_sample(ink, grid + waver.permute(0, 2, 3, 1), align_corners=False)
    return (255 - _change_pen(moved, rng)).clamp(0, 255)


def _affine(count: int, rng: np.random.Generator) -> Tensor:
    """Draw (B, 2, 3) maps: a turn within 15 degrees, slant, width and height within a quarter, and shift."""
    angle = uniform(rng, -math.pi / 12, math.pi / 12, count)
    width, height = (torch.exp(uniform(rng, -0.25, 0.25, count)) for _ in range(2))
    slant = uniform(rng, -0.3, 0.3, count)
    shift = uniform(rng, -0.15, 0.15, 2, count)
    rows = [
        torch.stack([angle.cos() * width, (slant - angle.sin()) * height, shift[0]], dim=1),
        torch.stack([angle.sin() * width, angle.cos() * height, shift[1]], dim=1),
    ]
    return torch.stack(rows, dim=1)


def _change_pen(ink: Tensor, rng: np.random.Generator) -> Tensor:
    """Thicken three of ten drawings and thin two of ten, each by its own share of a pixel."""
    count = len(ink)
    which = torch.from_numpy(rng.random((count, 1, 1, 1)))
    share = uniform(rng, 0, 1, count, 1, 1, 1)
    thick = torch.lerp(ink, F.max_pool2d(ink, 3, stride=1, padding=1), share)
    thin = torch.lerp(ink, -F.max_pool2d(-ink, 3, stride=1, padding=1), 0.6 * share)
    return torch.where(which < 0.3, thick, torch.where(which > 0.8, thin, ink))
