"""Faces turned, scaled and moved so that their five landmarks lie where encoders expect them."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.faces.detections import Floats
from models.images import Pixels

__all__ = ["TEMPLATE", "TEMPLATE_SIDE", "align", "similarity"]

# Where ArcFace's training pictures, 112 x 112, have the landmarks of `Detections`.
# Source: Deng et al., "ArcFace: Additive angular margin loss for deep face recognition" (2019).
TEMPLATE_SIDE = 112
TEMPLATE: Floats = np.asarray(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)],
    dtype=np.float32,
)

_Matrix = npt.NDArray[np.float64]


def similarity(points: Floats, targets: Floats) -> _Matrix:
    """Return the rotation, scale and shift that bring points closest to targets, in the sum of squares.

    Args:
        points: (n, 2), n >= 2, not all the same.
        targets: (n, 2).

    Returns:
        (2, 3) float64 [sR | t]: a point p becomes sR p + t; R never mirrors.

    Source:
        Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991),
        equations 40 to 42. In the plane sR is [[a, -b], [b, a]], and the least squares have a closed form.
    """
    x, y = points.astype(np.float64), targets.astype(np.float64)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    spread = np.square(x).sum()
    a = (x * y).sum() / spread
    b = (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]).sum() / spread
    turned = np.array([[a, -b], [b, a]])
    return np.column_stack([turned, y_mean - turned @ x_mean])


def align(picture: Pixels, landmarks: Floats, side: int) -> Pixels:
    """Return the face with its landmarks on ArcFace's template, scaled to a square of this side.

    A face that becomes much smaller is averaged first, as a resize with antialiasing would. What lies
    outside the picture is black.

    Args:
        picture: (H, W, 3) uint8.
        landmarks: (5, 2), in pixels of it.
        side: of the result.

    Returns:
        (side, side, 3) uint8.
    """
    forward = similarity(landmarks, TEMPLATE * (side / TEMPLATE_SIDE))
    turned, shift = forward[:, :2], forward[:, 2]
    back = np.linalg.inv(turned)
    corners = (np.array([(0, 0), (side, 0), (0, side), (side, side)]) - shift) @ back.T
    box = _clipped(corners, picture.shape[:2])
    if box is None:
        return np.zeros((side, side, 3), dtype=np.uint8)
    left, top, right, bottom = box
    part = Image.fromarray(picture[top:bottom, left:right])
    factor = max(1, int(1 / np.hypot(*turned[0])))
    factor = min(factor, *part.size)
    part = part.reduce(factor) if factor > 1 else part
    # Pillow asks for the way back, from a pixel of the result to one of the part, both by their corners.
    to_part = back / factor
    moved = (back @ -shift - (left, top)) / factor
    data = (*to_part[0], moved[0], *to_part[1], moved[1])
    aligned = part.transform((side, side), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(aligned, dtype=np.uint8)


def _clipped(corners: _Matrix, size: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Return the part of a picture that the corners span, with a margin; None where that is nothing."""
    margin = 2
    least = np.floor(corners.min(axis=0)).astype(int) - margin
    most = np.ceil(corners.max(axis=0)).astype(int) + margin
    left, top = np.maximum(least, 0)
    right, bottom = np.minimum(most, (size[1], size[0]))
    return (int(left), int(top), int(right), int(bottom)) if left < right and top < bottom else None
