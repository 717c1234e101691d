"""How good a picture of a face, or of anything that was cropped, is to recognise somebody by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from models.images import Pixels

__all__ = ["LIMITS", "Quality", "measure", "shortfall"]


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured on one crop.

    Attributes:
        size: the shorter side in pixels of the picture that came, before any resizing.
        sharpness: the variance of the Laplacian (of the four neighbours) of the grey crop at the encoder's
            size, >= 0; small where it is blurred. It depends on that size.
        brightness: the mean of the grey crop, 0 to 255.
        score: the detector's, 0 to 1; None where nothing was detected.
    """

    size: int
    sharpness: float
    brightness: float
    score: float | None = None


class _Limit(NamedTuple):
    measure: Literal["size", "sharpness", "brightness", "score"]
    least: bool


LIMITS: Mapping[str, _Limit] = {
    "min_size": _Limit("size", least=True),
    "min_sharpness": _Limit("sharpness", least=True),
    "min_brightness": _Limit("brightness", least=True),
    "max_brightness": _Limit("brightness", least=False),
    "min_score": _Limit("score", least=True),
}


def measure(crop: Pixels, size: int, score: float | None = None) -> Quality:
    """Return the quality of a crop.

    Args:
        crop: (H, W, C) uint8 at the encoder's size; C is 1 or 3.
        size: see `Quality`.
        score: the detector's.
    """
    flat = crop[..., 0] if crop.shape[2] == 1 else np.asarray(Image.fromarray(crop).convert("L"))
    grey = flat.astype(np.float32)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    sharpness = float(np.var(around - 4 * inner)) if inner.size else 0.0
    return Quality(size, sharpness, float(grey.mean()), score)


def shortfall(quality: Quality, limits: Mapping[str, float]) -> str | None:
    """Say which limits a crop does not meet, with figure and limit; None where it meets all.

    Args:
        quality: of the crop.
        limits: by the names in `LIMITS`; a limit on the score is met where there is no score.
    """
    sentences = []
    for name, limit in limits.items():
        figure = getattr(quality, LIMITS[name].measure)
        if figure is None:
            continue
        least = LIMITS[name].least
        if figure < limit if least else figure > limit:
            bound = "at least" if least else "at most"
            sentences.append(
                f"its {LIMITS[name].measure} is {figure:.4g} and {bound} {limit:g} is wanted ({name})"
            )
    return f"The quality is too low: {'; '.join(sentences)}. Take a better picture." if sentences else None
