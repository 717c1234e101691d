"""The augmentation of the strong re-identification baselines: flip, pad and crop, colour, random erasing."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.augmentation.draws import uniform
from models.augmentation.occlusion import erase

__all__ = ["flip_crop_erase"]

_PAD = 10 / 256  # of the height, as the baselines pad 256 x 128 crops by 10 pixels


def flip_crop_erase(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a changed copy: mirrored, shifted, a little brighter or darker, and partly covered.

    Args:
        images: (B, C, H, W) uint8 or float, from 0 to 255; not modified.
        rng: where every draw comes from.

    Returns:
        (B, C, H, W) float32, from 0 to 255.

    Source:
        Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, 2019, section 3.
    """
    x = images.float()
    mirrored = torch.from_numpy(rng.random(len(x)) < 0.5)
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    x = _shift(x, rng)
    gain = uniform(rng, 0.8, 1.2, len(x), 1, 1, 1)
    level = (x * gain).mean(dim=(1, 2, 3), keepdim=True)
    x = torch.lerp(level, x * gain, uniform(rng, 0.85, 1.15, len(x), 1, 1, 1)).clamp(0, 255)
    return erase(x, rng)


def _shift(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Pad with black and crop to the old size, each picture at its own place."""
    height, width = x.shape[2:]
    pad = max(1, round(_PAD * height))
    padded = F.pad(x, (pad, pad, pad, pad))
    tops, lefts = rng.integers(0, 2 * pad + 1, (2, len(x)))
    crops = [
        picture[:, top : top + height, left : left + width]
        for picture, top, left in zip(padded, tops, lefts, strict=True)
    ]
    return torch.stack(crops)
