"""Small detectors as ONNX graphs, and the photographs that they find faces in.

The RetinaFace here takes 64 x 64 pixels. A red cell of 8 x 8 is the middle of a face of 16 x 16, a blue one
that of a face of 32 x 32; what is green decides nothing, and so makes faces differ.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from models.faces.alignment import TEMPLATE
from models.images import Pixels

__all__ = ["SIDE", "SMALL", "file_of", "photograph", "retinaface_graph", "stub_graph"]

SIDE = 64
SMALL, LARGE = 16, 32
_CELLS = (SIDE // 8) ** 2
_OTHERS = 2 * ((SIDE // 16) ** 2 + (SIDE // 32) ** 2)  # anchors of the coarser strides, never a face


def retinaface_graph(
    *, degrees: float = 0.0, landmarks: bool = True, size: tuple[int | str, int | str] = (SIDE, SIDE)
) -> bytes:
    """Return the graph's bytes; the landmarks that it gives are the template's, turned clockwise."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    offsets = 10 * ((TEMPLATE - 56) / 112) @ turn
    constants: dict[str, npt.NDArray[Any]] = {
        "boxes_": np.zeros((1, 2 * _CELLS + _OTHERS, 4), np.float32),
        "landmarks_": np.tile(offsets.reshape(1, 1, 10), (1, 2 * _CELLS + _OTHERS, 1)).astype(np.float32),
        "blue_end": np.array([1], np.int64),
        "blue_start": np.array([0], np.int64),
        "red_end": np.array([3], np.int64),
        "red_start": np.array([2], np.int64),
        "channels": np.array([1], np.int64),
        "column": np.array([1, _CELLS, 1], np.int64),
        "pairs": np.array([1, 2 * _CELLS, 2], np.int64),
        "steepness": np.array(0.2, np.float32),
        "middle": np.array(70.0, np.float32),
        "one": np.array(1.0, np.float32),
        "rest": np.tile(np.array([[[1, 0]]], np.float32), (1, _OTHERS, 1)),
    }
    nodes = []
    for colour in ("red", "blue"):
        nodes += [
            helper.make_node("Slice", ["pictures", f"{colour}_start", f"{colour}_end", "channels"], [colour]),
            helper.make_node(
                "AveragePool", [colour], [f"{colour}_cells"], kernel_shape=[8, 8], strides=[8, 8]
            ),
            helper.make_node("Reshape", [f"{colour}_cells", "column"], [f"{colour}_column"]),
            helper.make_node("Sub", [f"{colour}_column", "middle"], [f"{colour}_beyond"]),
            helper.make_node("Mul", [f"{colour}_beyond", "steepness"], [f"{colour}_logit"]),
            helper.make_node("Sigmoid", [f"{colour}_logit"], [f"{colour}_face"]),
            helper.make_node("Sub", ["one", f"{colour}_face"], [f"{colour}_other"]),
        ]
    nodes += [
        helper.make_node("Concat", ["red_other", "red_face", "blue_other", "blue_face"], ["both"], axis=2),
        helper.make_node("Reshape", ["both", "pairs"], ["fine"]),
        helper.make_node("Concat", ["fine", "rest"], ["scores"], axis=1),
        helper.make_node("Identity", ["boxes_"], ["boxes"]),
        helper.make_node("Identity", ["landmarks_"], ["landmarks"]),
    ]
    outputs = ["boxes", "scores", *(["landmarks"] if landmarks else [])]
    return _model(nodes, outputs, constants, [1, 3, *size])


def stub_graph(outputs: Sequence[npt.NDArray[np.float32]], shape: Sequence[int | str]) -> bytes:
    """Return a graph that gives these outputs, whatever the picture."""
    constants = {f"constant_{number}": output for number, output in enumerate(outputs)}
    nodes = [helper.make_node("Identity", [name], [name.replace("constant", "out")]) for name in constants]
    return _model(nodes, [name.replace("constant", "out") for name in constants], constants, shape)


def photograph(
    *faces: tuple[int, int, str, int], size: tuple[int, int] = (SIDE, SIDE), scale: int = 1
) -> Pixels:
    """Return a black picture of (height, width) times scale with faces.

    Args:
        faces: row and column of the cell in the middle, "red" or "blue", and how green all of the face is.
        size: as the detector sees it.
        scale: how many pixels one of these is.
    """
    picture = np.zeros((*size, 3), np.uint8)
    for row, column, colour, green in faces:
        half = (SMALL if colour == "red" else LARGE) // 2
        y, x = 8 * row + 4, 8 * column + 4
        picture[max(0, y - half) : y + half, max(0, x - half) : x + half, 1] = green
        picture[y - 4 : y + 4, x - 4 : x + 4, 0 if colour == "red" else 2] = 255
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def file_of(picture: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _model(
    nodes: list[Any],
    outputs: Sequence[str],
    constants: dict[str, npt.NDArray[Any]],
    shape: Sequence[int | str],
) -> bytes:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())
