"""RetinaFace's outputs, read against its priors.

Source: Deng et al., "RetinaFace: Single-stage dense face localisation in the wild" (2019); the priors and
variances are those of its PyTorch implementations with a MobileNet0.25 or ResNet-50 backbone.
"""

from collections.abc import Sequence
from itertools import product
from math import ceil

import numpy as np

from models.errors import BundleError
from models.faces.detections import Detections, Floats

__all__ = ["RetinaFace"]

# The sides of a cell's two priors, by the pixels between two cells.
_SIDES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2


class RetinaFace:
    """Reads three outputs: (1, A, 4) boxes, (1, A, 2) background and face, (1, A, 10) landmarks.

    Args:
        size: (height, width) of the graph's input, in pixels.
    """

    channels = "bgr"
    mean = (104.0, 117.0, 123.0)  # of blue, green, red
    std = 1.0

    def __init__(self, size: tuple[int, int]) -> None:
        self._scale = np.asarray((size[1], size[0]), dtype=np.float32)
        self._priors = _priors(size)

    def read(self, outputs: Sequence[Floats], least_score: float) -> Detections:
        """Return the faces of at least this score, in pixels of the input.

        Raises:
            BundleError: the outputs are not this detector's.
        """
        boxes, scores, landmarks = self._sorted(outputs)
        rows = np.flatnonzero(scores[:, 1] >= least_score)
        priors = self._priors[rows]
        middles, sides = priors[:, :2], priors[:, 2:]
        centres = middles + boxes[rows, :2] * _CENTRE_VARIANCE * sides
        with np.errstate(over="ignore"):  # a box without bounds is no face, as whoever takes it looks for
            halves = sides * np.exp(boxes[rows, 2:] * _SIZE_VARIANCE) / 2
        offsets = landmarks[rows].reshape(-1, 5, 2) * _CENTRE_VARIANCE * sides[:, None]
        return Detections(
            boxes=np.concatenate([centres - halves, centres + halves], axis=1) * np.tile(self._scale, 2),
            landmarks=(middles[:, None] + offsets) * self._scale,
            scores=scores[rows, 1],
        )

    def _sorted(self, outputs: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
        """Return boxes, scores and landmarks, in whatever order the graph has them."""
        by_width = {output.shape[-1]: output.reshape(-1, output.shape[-1]) for output in outputs}
        anchors = len(self._priors)
        if len(outputs) != 3 or {*by_width} != {4, 2, 10} or {*map(len, by_width.values())} != {anchors}:
            raise BundleError(
                f"The detector's outputs have the shapes {[output.shape for output in outputs]}; those of "
                f"RetinaFace have {anchors:,} rows of 4, 2 and 10 numbers at this input size."
            )
        return by_width[4], by_width[2], by_width[10]


def _priors(size: tuple[int, int]) -> Floats:
    """Return (A, 4) priors as centre x, centre y, width and height, in parts of the input's size."""
    height, width = size
    rows = [
        ((column + 0.5) * step / width, (row + 0.5) * step / height, side / width, side / height)
        for step, sides in _SIDES.items()
        for row, column, side in product(range(ceil(height / step)), range(ceil(width / step)), sides)
    ]
    return np.asarray(rows, dtype=np.float32)
