"""Faces that a detector found, and the suppression of those that it found twice."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["Detections", "Floats", "suppress"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detections:
    """N faces, in pixels of the picture that was looked at.

    Attributes:
        boxes: (N, 4) float32: left, top, right, bottom.
        landmarks: (N, 5, 2) float32 x, y: the eye on the picture's left, the other, the nose, the corner of
            the mouth on the picture's left, the other.
        scores: (N,) float32 from 0 to 1.
    """

    boxes: Floats
    landmarks: Floats
    scores: Floats

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    def chosen(self, rows: npt.NDArray[np.intp]) -> Self:
        """Return the faces of these rows, in their order."""
        return type(self)(self.boxes[rows], self.landmarks[rows], self.scores[rows])


def suppress(found: Detections, threshold: float) -> Detections:
    """Return the faces without those that overlap a better one: non-maximum suppression.

    Args:
        found: not modified.
        threshold: of intersection over union; a face that overlaps a kept one by more is dropped.

    Returns:
        The kept ones, the best score first; equal scores in their order.
    """
    order = np.argsort(-found.scores, kind="stable")
    left, top, right, bottom = found.boxes[order].astype(np.float64).T
    areas = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    kept: list[int] = []
    waiting = np.arange(len(order))
    while len(waiting):
        best, rest = waiting[0], waiting[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = np.maximum(areas[best] + areas[rest] - shared, np.finfo(np.float64).tiny)
        waiting = rest[shared / union <= threshold]
    return found.chosen(order[kept])
