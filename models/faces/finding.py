"""From a photograph to the crops of its faces: detected, chosen, aligned and measured."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.faces.alignment import align
from models.faces.detections import Detections
from models.faces.detector import Detector
from models.faces.quality import Quality, measure
from models.faces.spec import DetectorSpec, FaceChoice
from models.images import Pixels

__all__ = ["Face", "FaceFinder", "Found", "open_finder"]


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a photograph, in pixels of the upright picture.

    Attributes:
        box: left, top, right, bottom, within the picture.
        landmarks: five times x, y, in the order of `Detections`.
        quality: of the aligned face, the detector's score with it.
    """

    box: tuple[float, ...]
    landmarks: tuple[tuple[float, float], ...]
    quality: Quality


@dataclass(frozen=True, slots=True)
class Found:
    """The faces that a request is about, the largest first, and their crops at the encoder's size.

    Where exactly one face was asked for and there are several, they are listed and there is no crop.
    """

    faces: tuple[Face, ...]
    crops: tuple[Pixels, ...]


class FaceFinder:
    """Finds and aligns faces. Several threads may call it at once.

    Args:
        detector: finds them.
        side: of the encoder's input, in pixels.
        grey: whether crops have one channel instead of three.
        usual: which faces are meant where a request does not say.
    """

    def __init__(self, detector: Detector, *, side: int, grey: bool, usual: FaceChoice) -> None:
        self._detector, self._side, self._grey = detector, side, grey
        self.usual = usual

    def find(self, picture: Pixels, choice: FaceChoice | None = None) -> Found:
        """Return the faces of a picture.

        Args:
            picture: (H, W, 3) uint8 in RGB, upright.
            choice: which; None is the usual one.
        """
        choice = choice or self.usual
        found = self._detector.find(picture)
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        order = np.argsort(-sides.prod(axis=1), kind="stable")
        found = found.chosen(order[:1] if choice == "largest" else order)
        crops = [self._crop(picture, found, row) for row in range(len(found))]
        faces = [_face(found, row, crop) for row, crop in enumerate(crops)]
        ambiguous = choice == "one" and len(faces) > 1
        return Found(tuple(faces), () if ambiguous else tuple(crops))

    def _crop(self, picture: Pixels, found: Detections, row: int) -> Pixels:
        crop = align(picture, found.landmarks[row], self._side)
        return np.asarray(Image.fromarray(crop).convert("L"))[..., None] if self._grey else crop


def open_finder(
    model: bytes | None, spec: DetectorSpec | None, side: int, *, grey: bool
) -> FaceFinder | None:
    """Open a bundle's detector; None where it has none.

    Args:
        model: the graph's bytes.
        spec: what the manifest says of it.
        side: of the encoder's input.
        grey: whether crops have one channel.

    Raises:
        BundleError: the detector cannot be run, or is not what the spec says.
    """
    if model is None or spec is None:
        return None
    return FaceFinder(Detector(model, spec), side=side, grey=grey, usual=spec.faces)


def _face(found: Detections, row: int, crop: Pixels) -> Face:
    box, landmarks = found.boxes[row], found.landmarks[row]
    shorter = round(float((box[2:] - box[:2]).min()))
    return Face(
        box=tuple(round(float(side), 2) for side in box),
        landmarks=tuple((round(float(x), 2), round(float(y), 2)) for x, y in landmarks),
        quality=measure(crop, shorter, float(found.scores[row])),
    )
