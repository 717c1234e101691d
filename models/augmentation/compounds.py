"""Further classes of drawn characters: a character with a small mark beside it is another character."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.augmentation.draws import normal, uniform

__all__ = ["compound"]

_REDUCED = (2.0, 3.2)  # how many times smaller the mark is than it was drawn
_REACH = 0.7  # how far from the middle it may be, in half widths of the picture
_HAND = 0.05  # standard deviation of place and size among the drawings of one class
_INK = 1.6  # what is reduced becomes paler, and is darkened by this


def compound(images: Tensor, rng: np.random.Generator, *, each: int, share: float) -> Tensor:
    """Return a copy in which some classes are other ones: each drawing has a mark in the same place.

    The mark is a drawing of another class of the batch, made small. Which class gives it, where it is and how
    small are drawn once for a class; each of its drawings takes another drawing of the mark and a place and
    size a little different, as people would. Alphabets are like this: many of their characters differ by one
    small stroke, and a few hundred characters teach little about it.

    Args:
        images: (P K, C, H, W) uint8 or float, from 0 to 255, dark strokes on light paper, the K of a class
            side by side; not modified.
        rng: where every draw comes from.
        each: K.
        share: of the classes that become others, from 0 to 1.

    Returns:
        (P K, C, H, W) float32, from 0 to 255.
    """
    ink = 255 - images.float()
    count = len(ink) // each

    def of_class(drawn: Tensor) -> Tensor:
        """Repeat (P,) what is drawn for a class for each of its drawings."""
        return drawn.repeat_interleave(each)

    becomes = of_class(torch.from_numpy(rng.random(count) < share))
    giver = torch.from_numpy(rng.permutation(count))
    given = ink.reshape(count, each, *ink.shape[1:])[giver].flatten(0, 1)
    size = of_class(uniform(rng, *_REDUCED, count)) * torch.exp(_HAND * normal(rng, len(ink)))
    across, down = (of_class(uniform(rng, -_REACH, _REACH, count)) for _ in range(2))
    across, down = (place + _HAND * normal(rng, len(ink)) for place in (across, down))
    none = torch.zeros_like(size)
    rows = [torch.stack([size, none, -across * size], dim=1), torch.stack([none, size, -down * size], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(ink.shape), align_corners=False)
    mark = (_INK * F.grid_sample(given, grid, align_corners=False)).clamp(max=255)
    return 255 - torch.where(becomes[:, None, None, None], torch.maximum(ink, mark), ink)
