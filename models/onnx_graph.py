"""What an ONNX graph says about its pictures and embeddings, and how its batch dimension is freed.

Needs the extra `onnx`; to run a bundle, ONNX Runtime alone is enough.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from models.errors import BundleError, OptionError
from models.onnx_session import first_line

__all__ = ["Signature", "free_batch", "normalises_pixels", "read_model", "read_signature"]

_OLDEST_OPSET = 7
_NO_GRAPH = (
    "is not an ONNX file, or a damaged one. Give a graph that was exported to ONNX, or what torch.save or "
    "safetensors wrote."
)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph says about its one input and the chosen output; None where it leaves a size open."""

    input: str
    output: str
    layout: Literal["nchw", "nhwc"]
    batch: int | None
    depth: int | None
    height: int | None
    width: int | None


def read_model(raw: bytes, name: str) -> Any:
    """Return the ModelProto of a file's bytes, checked.

    Args:
        raw: the file.
        name: the file's name, for messages.

    Raises:
        BundleError: no ONNX file, an invalid one, external data, an opset that is too old; or the extra
            is not installed.
    """
    try:
        import onnx  # noqa: PLC0415 - an optional extra, needed here only
    except ImportError as error:
        message = "Reading ONNX graphs needs the extra onnx: in a checkout, pip install '.[onnx]'."
        raise BundleError(message) from error
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf's DecodeError, whose module differs between versions
        raise BundleError(f"{name} {_NO_GRAPH}") from error
    if not model.graph.node:  # no bytes at all are a valid message too
        raise BundleError(f"{name} {_NO_GRAPH}")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _constants(model.graph)):
        raise BundleError(
            f"{name} keeps its weights in a second file (external data). Save it as one file: "
            "onnx.save(onnx.load(path), new_path, save_as_external_data=False)."
        )
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < _OLDEST_OPSET:
        raise BundleError(
            f"{name} uses ONNX opset {opset}, and {_OLDEST_OPSET} or newer is needed. "
            "Convert it with onnx.version_converter, or export it again."
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise BundleError(
            f"{name} is not a valid ONNX model. Export it again. (ONNX says: {first_line(error)}.)"
        ) from error
    return model


def read_signature(model: Any, output: str | None = None) -> Signature:
    """Read the picture's input and the embedding's output from a graph.

    Args:
        model: a ModelProto.
        output: the embedding's name; None takes the only one.

    Raises:
        BundleError: the input is no picture, or the output no numbers.
        OptionError: no output of that name, or several and none is named.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise BundleError(f"An encoder has one input, the pictures; this graph has {len(inputs)}.")
    name, shape = inputs[0].name, _shape(inputs[0])
    if len(shape) != 4:
        raise BundleError(
            f"The input {name!r} has {len(shape)} axes; pictures have 4 (batch, channels, height, width)."
        )
    if inputs[0].type.tensor_type.elem_type != 1:
        raise BundleError(f"The input {name!r} is not float32. Export the graph with float32 pictures.")
    batch, *axes = shape
    layout: Literal["nchw", "nhwc"] = "nhwc" if axes[0] not in (1, 3) and axes[2] in (1, 3) else "nchw"
    depth, height, width = axes if layout == "nchw" else (axes[2], axes[0], axes[1])
    if depth not in (1, 3, None):
        raise BundleError(f"The input has {depth} channels; an image encoder takes 3, or 1 for grey.")
    return Signature(name, _choose_output(model, output), layout, batch, depth, height, width)


def normalises_pixels(model: Any, input_name: str) -> bool:
    """Say whether a graph begins by normalising pixels from 0 to 255 itself.

    It then subtracts a constant that is larger than any pixel from 0 to 1, and multiplies or divides by
    another. ArcFace's of MXNet and FastReID's exports do.
    """
    from onnx import numpy_helper  # noqa: PLC0415 - as in read_model

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    first = _consumer(model, input_name)
    if first is None or first.op_type not in ("Sub", "Add"):
        return False
    mean = next((constants[name] for name in first.input if name in constants), None)
    second = _consumer(model, first.output[0])
    return (
        mean is not None
        and abs(numpy_helper.to_array(mean)).max() > 1
        and second is not None
        and second.op_type in ("Mul", "Div")
        and any(name in constants for name in second.input)
    )


def free_batch(model: Any, input_name: str) -> bytes:
    """Return the graph with an open batch dimension, in its declarations and in its reshapes.

    Whether it then still gives the same embeddings is for the caller to try.
    """
    freed = type(model)()
    freed.CopyFrom(model)
    graph = freed.graph
    del graph.value_info[:]  # stale shapes, inferred for the fixed batch
    pictures = [value for value in graph.input if value.name == input_name]
    for value in (*pictures, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].dim_param = "batch"
    _open_reshapes(graph)
    return bytes(freed.SerializeToString())


def _consumer(model: Any, name: str) -> Any | None:
    """Return the node that takes a tensor, behind those that do not compute; None if not just one does."""
    consumers = [node for node in model.graph.node if name in node.input]
    if len(consumers) != 1:
        return None
    node = consumers[0]
    return _consumer(model, node.output[0]) if node.op_type in ("Cast", "Identity", "Transpose") else node


def _choose_output(model: Any, wanted: str | None) -> str:
    """Return the name of the embedding's output."""
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    if wanted is None and len(types) > 1:
        raise OptionError(
            f"The graph has the outputs {', '.join(types)}. Say with --output which is the embedding."
        )
    if wanted is not None and wanted not in types:
        raise OptionError(f"The graph has no output {wanted!r}; it has {', '.join(types)}.")
    chosen = wanted or next(iter(types))
    if types[chosen] not in (1, 10, 11):  # FLOAT, FLOAT16, DOUBLE
        raise BundleError(f"The output {chosen!r} holds no floating-point numbers, so it is no embedding.")
    return chosen


def _constants(graph: Any) -> Iterator[Any]:
    """Yield every tensor that a graph holds, in its nodes and their subgraphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _constants(subgraph)


def _shape(value: Any) -> list[int | None]:
    """Return the sizes of a graph's tensor, None where they are left open."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def _open_reshapes(graph: Any) -> None:
    """Let constant reshape targets such as [1, 512] keep the batch: a leading 0 means "as it was"."""
    from onnx import numpy_helper  # noqa: PLC0415 - as in read_model

    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    holders = [tensor for tensor in graph.initializer if tensor.name in targets]
    holders += [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant" and node.output[0] in targets
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    for tensor in holders:
        target = numpy_helper.to_array(tensor).copy()
        if target.ndim == 1 and target.size > 1 and target[0] > 0:
            target[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(target, tensor.name))
