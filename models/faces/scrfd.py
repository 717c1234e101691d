"""SCRFD's outputs, as InsightFace's detectors (det_500m, det_2.5g, det_10g) have them.

Source: Guo et al., "Sample and computation redistribution for efficient face detection" (2021): each cell
says how far the sides of a box and the landmarks are from its anchor's centre, in units of the stride.
"""

from collections.abc import Sequence

import numpy as np

from models.errors import BundleError
from models.faces.detections import Detections, Floats

__all__ = ["Scrfd"]

_STRIDES = (8, 16, 32)
_ANCHORS = 2  # of each cell, at the same place


class Scrfd:
    """Reads nine outputs: for each of three strides (A, 1) scores, (A, 4) boxes and (A, 10) landmarks.

    Args:
        size: (height, width) of the graph's input, in pixels.
    """

    channels = "rgb"
    mean = (127.5, 127.5, 127.5)
    std = 128.0

    def __init__(self, size: tuple[int, int]) -> None:
        grids = [_centres(size, stride) for stride in _STRIDES]
        self._counts = [len(grid) for grid in grids]
        self._centres = np.concatenate(grids)
        self._strides = np.repeat(np.asarray(_STRIDES, dtype=np.float32), self._counts)

    def read(self, outputs: Sequence[Floats], least_score: float) -> Detections:
        """Return the faces of at least this score, in pixels of the input.

        Raises:
            BundleError: the outputs are not this detector's.
        """
        scores, boxes, landmarks = (self._joined(outputs, width) for width in (1, 4, 10))
        rows = np.flatnonzero(scores[:, 0] >= least_score)
        centres, strides = self._centres[rows], self._strides[rows, None]
        sides = boxes[rows] * strides  # to the left, to the top, to the right, to the bottom
        offsets = landmarks[rows].reshape(-1, 5, 2) * strides[:, None]
        return Detections(
            boxes=np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1),
            landmarks=centres[:, None] + offsets,
            scores=scores[rows, 0],
        )

    def _joined(self, outputs: Sequence[Floats], width: int) -> Floats:
        """Return the three outputs of a width as one, the finest stride first, whatever their order."""
        fitting = [output.reshape(-1, width) for output in outputs if output.shape[-1] == width]
        fitting.sort(key=len, reverse=True)
        if len(outputs) != 9 or [len(one) for one in fitting] != self._counts:
            raise BundleError(
                f"The detector's outputs have the shapes {[output.shape for output in outputs]}; those of "
                f"SCRFD have three times {self._counts} rows, of 1, 4 and 10 numbers, at this input size."
            )
        return np.concatenate(fitting)


def _centres(size: tuple[int, int], stride: int) -> Floats:
    """Return the (A, 2) centres x, y of a stride's anchors, row by row."""
    rows, columns = (-(-side // stride) for side in size)
    y, x = np.mgrid[:rows, :columns].astype(np.float32) * stride
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), _ANCHORS, axis=0)
