"""Pictures changed as the world would change them, so that a network learns what stays.

An augmentation takes (B, C, H, W) pictures, uint8 or float from 0 to 255, and a NumPy generator, from which
it draws everything: a step's pictures depend on its seed alone. It returns a changed float32 copy, from 0
to 255 as well.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from models.augmentation.baseline import flip_crop_erase
from models.augmentation.camera import another_camera
from models.augmentation.strokes import redraw

__all__ = ["AUGMENTATIONS"]


def keep(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the pictures as they are; nothing is drawn."""
    del rng
    return images.float()


AUGMENTATIONS: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "none": keep,
    "baseline": flip_crop_erase,
    "camera": another_camera,
    "strokes": redraw,
}
