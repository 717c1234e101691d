"""A detector's graph in ONNX Runtime: a picture in, faces out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.errors import BundleError
from models.faces.detections import Detections, Floats, suppress
from models.faces.retinaface import RetinaFace
from models.faces.scrfd import Scrfd
from models.faces.spec import DetectorKind, DetectorSpec
from models.images import Pixels
from models.onnx_session import first_line, open_session

__all__ = ["MOST_FACES", "Detector", "Graph", "kind_of", "usual_score"]

MOST_FACES = 64  # of one picture; the best by score
_MOST_CANDIDATES = 2048  # that are compared with one another; the best by score


class Reader(Protocol):
    """Reads the outputs of one kind of detector, for inputs of one size.

    Attributes:
        channels: the order that the graph expects, "rgb" or "bgr".
        mean, std: a pixel from 0 to 255 becomes (pixel - mean) / std; the means are in that order.
    """

    channels: str
    mean: tuple[float, float, float]
    std: float

    def read(self, outputs: Sequence[Floats], least_score: float) -> Detections:
        """Return the faces of at least this score, in pixels of the input.

        Raises:
            BundleError: the outputs are not this detector's.
        """


_READERS: dict[DetectorKind, type[RetinaFace] | type[Scrfd]] = {"retinaface": RetinaFace, "scrfd": Scrfd}
# By what the last axes of the outputs are: nothing else tells the kinds apart, and it does.
_WIDTHS: dict[tuple[int, ...], DetectorKind] = {
    (2, 4, 10): "retinaface",
    (1, 1, 1, 4, 4, 4, 10, 10, 10): "scrfd",
}
_USUAL_SCORES: dict[DetectorKind, float] = {"retinaface": 0.6, "scrfd": 0.5}


class Graph:
    """The graph alone. Several threads may run it at once; each run takes one core.

    Args:
        model: the file's bytes.

    Attributes:
        size: (height, width) of its input; None where the graph leaves one of them open.

    Raises:
        BundleError: ONNX Runtime cannot load it, or its input is no colour picture.
    """

    def __init__(self, model: bytes) -> None:
        self._session = open_session(model, 1, what="detector")
        constants = {one.name for one in self._session.get_overridable_initializers()}
        inputs = [one for one in self._session.get_inputs() if one.name not in constants]
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise BundleError("The detector must have one input, colour pictures (batch, 3, height, width).")
        self._input = inputs[0].name
        self.size = (shape[2], shape[3]) if all(isinstance(side, int) for side in shape[2:]) else None

    def run(self, x: Floats) -> list[Floats]:
        """Return the outputs for one picture, (1, 3, H, W) float32.

        Raises:
            BundleError: the graph cannot run on it.
        """
        try:
            outputs = self._session.run(None, {self._input: x})
        except Exception as error:  # as above
            height, width = x.shape[2:]
            raise BundleError(
                f"ONNX Runtime cannot run the detector on a picture of {height} x {width}. Add it again with "
                f"the --size that it was made for. (It says: {first_line(error)}.)"
            ) from error
        return [np.asarray(output, dtype=np.float32) for output in outputs]


class Detector:
    """A detector that was opened and tried. Several threads may call it at once.

    Raises:
        BundleError: the graph cannot be run at the spec's size, or is of another kind.
    """

    def __init__(self, model: bytes, spec: DetectorSpec) -> None:
        self._spec = spec
        self._graph = Graph(model)
        size = (spec.height, spec.width)
        if self._graph.size not in (None, size):
            raise BundleError(
                f"The detector's input is {self._graph.size} (height, width), and the manifest says {size}."
            )
        self._reader: Reader = _READERS[spec.kind](size)
        self.find(np.zeros((spec.height, spec.width, 3), dtype=np.uint8))

    def find(self, picture: Pixels) -> Detections:
        """Return the faces of a picture, the best score first, at most `MOST_FACES`, in its pixels.

        Args:
            picture: (H, W, 3) uint8 in RGB, upright.
        """
        spec, reader = self._spec, self._reader
        scale = min(spec.height / picture.shape[0], spec.width / picture.shape[1])
        found = reader.read(self._graph.run(self._fitted(picture, scale)), spec.score_threshold)
        found = found.chosen(np.argsort(-found.scores, kind="stable")[:_MOST_CANDIDATES])
        whole = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.landmarks).all(axis=(1, 2))
        found = suppress(found.chosen(np.flatnonzero(whole)), spec.overlap_threshold)
        sides = np.tile(np.asarray(picture.shape[1::-1], dtype=np.float32), 2)
        boxes = np.clip(found.boxes / np.float32(scale), 0, sides)
        found = Detections(boxes, found.landmarks / np.float32(scale), found.scores)
        return found.chosen(np.flatnonzero(_real(found))[:MOST_FACES])

    def _fitted(self, picture: Pixels, scale: float) -> Floats:
        """Return the graph's input: the picture resized to fit, at the top left, what is left over black."""
        spec, reader = self._spec, self._reader
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        image = Image.fromarray(picture)
        small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
        canvas = np.zeros((spec.height, spec.width, 3), dtype=np.float32)
        canvas[:height, :width] = small
        ordered = canvas[..., ::-1] if reader.channels == "bgr" else canvas
        x = (ordered - np.asarray(reader.mean, dtype=np.float32)) / np.float32(reader.std)
        return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


def kind_of(graph: Graph, size: tuple[int, int]) -> DetectorKind:
    """Say of which kind a detector is, by its outputs at a size (height, width).

    Raises:
        BundleError: it gives no landmarks, is of no kind that is read, or cannot be run.
    """
    outputs = graph.run(np.zeros((1, 3, *size), dtype=np.float32))
    widths = tuple(sorted(output.shape[-1] if output.ndim else 0 for output in outputs))
    if widths in _WIDTHS:
        return _WIDTHS[widths]
    shapes = ", ".join(str(output.shape) for output in outputs)
    if 10 not in widths:
        raise BundleError(
            f"The detector gives no five landmarks (its outputs have the shapes {shapes}), and without them "
            "faces cannot be aligned. Take a RetinaFace, or an SCRFD with landmarks."
        )
    raise BundleError(
        f"The detector's outputs have the shapes {shapes}, which are neither RetinaFace's (boxes, scores, "
        "landmarks) nor SCRFD's (the three of each of three strides)."
    )


def usual_score(kind: DetectorKind) -> float:
    """Return the score from which a detector of this kind is usually believed."""
    return _USUAL_SCORES[kind]


def _real(found: Detections) -> npt.NDArray[np.bool_]:
    """Say which faces have an area, and landmarks that do not lie on one point."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    spread = np.ptp(found.landmarks, axis=1).max(axis=1) if len(found) else np.empty(0)
    real: npt.NDArray[np.bool_] = (sides >= 1).all(axis=1) & (spread > 0.5)
    return real
