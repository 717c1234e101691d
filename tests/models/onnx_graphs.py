"""Small ONNX encoders, and what they must give: ONNX Runtime and NumPy, picture by picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from models.images import Pixels

__all__ = ["Head", "by_hand", "encoder_graph", "save_graph"]

Floats = npt.NDArray[np.float32]

# How the (B, 4) features become the embedding; all but "flatten" say something about the batch.
#   flatten   takes any batch
#   reshape   to a constant [batch, 4], as exporters write it for a fixed batch
#   token     concatenates a constant (batch, 1), which fits no other batch
#   mixing    adds the mean over the batch: runs with any, and gives something else
#   divide    by the first pixel, which may be 0
#   random    adds noise
Head = Literal["flatten", "reshape", "token", "mixing", "divide", "random"]

FEATURES = 4


def encoder_graph(
    *,
    batch: int | str = "batch",
    size: tuple[int | str, int | str] = (8, 10),
    depth: int | str = 3,
    layout: Literal["nchw", "nhwc"] = "nchw",
    head: Head = "flatten",
    dimension: int = 5,
    second_output: bool = False,
    opset: int = 13,
) -> Any:
    """Return the ModelProto of convolution, ReLU, global mean, head and one linear layer."""
    rng = np.random.default_rng(7)
    channels = depth if isinstance(depth, int) else 3
    width = FEATURES + (head == "token")
    fixed = batch if isinstance(batch, int) else 1
    constants: dict[str, npt.NDArray[Any]] = {
        "kernel": rng.normal(size=(FEATURES, channels, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=FEATURES).astype(np.float32),
        "linear": rng.normal(size=(width, dimension)).astype(np.float32),
        "shape": np.array([fixed, FEATURES], dtype=np.int64),
        "token": np.ones((fixed, 1), dtype=np.float32),
        "corner": np.zeros(4, dtype=np.int64),
        "corner_end": np.array([2**31, 1, 1, 1], dtype=np.int64),
        "one": np.array([1, 1], dtype=np.int64),
    }
    heads: dict[Head, list[Any]] = {
        "flatten": [helper.make_node("Flatten", ["mean"], ["features"])],
        "reshape": [helper.make_node("Reshape", ["mean", "shape"], ["features"])],
        "token": [
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Concat", ["flat", "token"], ["features"], axis=1),
        ],
        "mixing": [
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("ReduceMean", ["flat"], ["shared"], axes=[0], keepdims=1),
            helper.make_node("Add", ["flat", "shared"], ["features"]),
        ],
        "divide": [
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Slice", ["planes", "corner", "corner_end"], ["pixel"]),
            helper.make_node("Flatten", ["pixel"], ["divisor"]),
            helper.make_node("Div", ["flat", "divisor"], ["features"]),
        ],
        "random": [
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("RandomNormalLike", ["flat"], ["noise"], dtype=TensorProto.FLOAT),
            helper.make_node("Add", ["flat", "noise"], ["features"]),
        ],
    }
    perm = [0, 1, 2, 3] if layout == "nchw" else [0, 3, 1, 2]
    nodes = [
        helper.make_node("Transpose", ["pictures"], ["planes"], perm=perm),
        helper.make_node("Conv", ["planes", "kernel", "bias"], ["edges"], strides=[2, 2]),
        helper.make_node("Relu", ["edges"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        *heads[head],
        helper.make_node("MatMul", ["features", "linear"], ["embedding"]),
    ]
    axes = [batch, depth, *size] if layout == "nchw" else [batch, *size, depth]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, dimension])]
    if second_output:
        outputs.insert(0, helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, width]))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, axes)],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save_graph(path: Path, **options: Any) -> Path:
    """Write an encoder graph and return its path."""
    path.write_bytes(encoder_graph(**options).SerializeToString())
    return path


def by_hand(
    graph: bytes | Path,
    pictures: Pixels,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    bgr: bool = False,
    nhwc: bool = False,
    normalize: bool = False,
) -> Floats:
    """Return (B, D) embeddings by plain loops; a batch holds one picture, repeated."""
    raw = graph.read_bytes() if isinstance(graph, Path) else graph
    session = ort.InferenceSession(raw, providers=["CPUExecutionProvider"])
    (pictures_in,) = session.get_inputs()
    size = pictures_in.shape[0] if isinstance(pictures_in.shape[0], int) else 1
    rows = []
    for picture in pictures:
        channels = [picture[:, :, c] for c in range(picture.shape[2])]
        channels = channels[::-1] if bgr else channels
        planes = [
            (plane.astype(np.float32) - np.float32(m)) / np.float32(s)
            for plane, m, s in zip(channels, mean, std, strict=True)
        ]
        x = np.stack(planes, axis=-1 if nhwc else 0)[None]
        y = session.run(None, {pictures_in.name: np.repeat(x, size, axis=0)})[-1][0].reshape(-1)
        rows.append(y / np.sqrt(np.sum(y.astype(np.float64) ** 2)) if normalize else y)
    return np.array(rows, dtype=np.float32)
