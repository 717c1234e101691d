"""Further classes made of those that there are: a character on its side is another character.

They help where identities are few and where the thing shown would be another one if it were turned: written
characters, symbols, textures. They are wrong for vehicles, persons and faces.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from models.errors import OptionError, ShapeError
from models.images import Pixels

__all__ = ["FurtherClasses", "expand", "expand_labels"]

_SYMMETRIES = {"none": 1, "rotations": 4, "symmetries": 8}

FurtherClasses = Literal["none", "rotations", "symmetries"]


def expand(
    pixels: Pixels, labels: npt.NDArray[np.int64], kind: FurtherClasses
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return pictures and labels with the classes that turning makes of each class.

    Args:
        pixels: (N, H, W, C) uint8, square unless `kind` is none; not modified.
        labels: (N,) >= 0.
        kind: none returns what was given; rotations makes 4 classes of each, by quarter turns; symmetries
            makes 8, by quarter turns of the picture and of its mirror image.

    Returns:
        (S N, H, W, C) and (S N,), S = 1, 4 or 8: all pictures under the first symmetry, which leaves them as
        they are, then all under the next. Class c under symmetry s has the label c + s C, with C = max + 1.

    Raises:
        OptionError: another kind.
        ShapeError: pictures that are not square.

    Source:
        Santoro et al., Meta-Learning with Memory-Augmented Neural Networks, 2016, section 4.1 (rotations).
    """
    if kind not in _SYMMETRIES:
        raise OptionError(
            f"There are no further classes {kind!r}; known are {', '.join(_SYMMETRIES)}.",
            argument="further_classes",
        )
    if kind == "none":
        return pixels, labels
    if pixels.shape[1] != pixels.shape[2]:
        raise ShapeError(
            f"Only square pictures can be turned into further classes; these are {pixels.shape[1]} x "
            f"{pixels.shape[2]}. Ask for an input of equal height and width.",
            argument="pixels",
            got=pixels.shape,
        )
    sides = (pixels, pixels[:, :, ::-1]) if kind == "symmetries" else (pixels,)
    turned = [np.rot90(side, turn, axes=(1, 2)) for side in sides for turn in range(4)]
    return np.concatenate(turned), expand_labels(labels, kind)


def expand_labels(labels: npt.NDArray[np.int64], kind: FurtherClasses) -> npt.NDArray[np.int64]:
    """Return the labels of the pictures that `expand` makes; groups of classes are expanded likewise.

    Args:
        labels: (N,) >= 0.
        kind: as in `expand`.

    Returns:
        (S N,).
    """
    count = int(labels.max()) + 1 if len(labels) else 0
    return np.concatenate([labels + symmetry * count for symmetry in range(_SYMMETRIES[kind])])
