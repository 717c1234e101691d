"""What the service should answer, by a plain loop: Pillow, ONNX Runtime and NumPy, nothing of the project.

The original ONNX file runs on one picture at a time, and distances are computed in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image

__all__ = ["PlainEncoder", "Recipe", "average_precision", "cosine_distances", "first_is_hit"]

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ONNX file and how pictures become its input, as its authors state it.

    Attributes:
        file: the file's name.
        size: (height, width).
        mean, std: for RGB pixels from 0 to 255.
    """

    file: str
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class PlainEncoder:
    """The original file in a session of its own; every picture is encoded once and remembered."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(folder / recipe.file), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._recipe = recipe
        self._known: dict[Path, Vectors] = {}

    def embed(self, path: Path) -> Vectors:
        """Return the (D,) embedding of a picture, of length 1."""
        if path not in self._known:
            height, width = self._recipe.size
            with Image.open(path) as image:
                picture = image.convert("RGB")
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture, dtype=np.float32)  # (H, W, 3)
            mean, std = np.array([self._recipe.mean, self._recipe.std], dtype=np.float32)
            scaled = (pixels - mean) / std
            x = np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])  # (1, 3, H, W)
            raw = np.asarray(self._session.run(None, {self._input: x})[0], dtype=np.float64).ravel()
            self._known[path] = raw / np.sqrt(np.sum(raw * raw))
        return self._known[path]


def cosine_distances(query: Vectors, gallery: Sequence[Vectors]) -> Vectors:
    """Return (G,) 1 - cos between a query and each of a gallery, all of length 1."""
    return np.array([1.0 - float(np.sum(query * item)) for item in gallery])


def first_is_hit(hits: Sequence[bool]) -> bool:
    """Say whether the nearest is of the query's identity."""
    return bool(hits) and hits[0]


def average_precision(hits: Sequence[bool]) -> float | None:
    """Return the mean over the hits of (hits so far / rank); None where there is no hit.

    Source: Zheng et al., Scalable Person Re-identification, 2015, section 5.2.
    """
    precisions: list[float] = []
    for rank, hit in enumerate(hits, start=1):
        if hit:
            precisions.append((len(precisions) + 1) / rank)
    return sum(precisions) / len(precisions) if precisions else None
