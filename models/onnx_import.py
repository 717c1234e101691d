"""A plain ONNX encoder made into a bundle: what the graph says is read, the rest is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.bundle import Channels, EncoderSpec, InputSpec, OnnxGraph
from models.drawing import draw_vehicle
from models.errors import BundleError, OptionError
from models.images import Pixels, Resize
from models.runtime import Encoder, Engine, OnnxEngine, save_encoder

__all__ = ["ImportOptions", "ImportReport", "import_onnx"]

_OLDEST_OPSET = 7
_PARITY = 1e-4
_REFERENCES = 4


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a graph cannot say about itself; None is "not given".

    Attributes:
        name: by which the encoder is hosted.
        size: (height, width) of the input, where the graph leaves it open.
        mean, std: one number, or one a channel in the network's order, for pixels from 0 to `pixel_max`.
        pixel_max: 255, or 1 where mean and std are meant for pixels from 0 to 1.
        channels: the order that the network expects.
        normalize: whether embeddings are to be L2-normalised.
        metric, resize, output: the distance to compare by, the interpolation, the output's name.
        description, intended_use, licence: sentences for the manifest.
    """

    name: str
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pixel_max: Literal[1, 255] = 255
    channels: Channels | None = None
    normalize: bool | None = None
    metric: Literal["cosine", "euclidean"] = "cosine"
    resize: Resize = "bilinear"
    output: str | None = None
    description: str = ""
    intended_use: str = ""
    licence: str = "not stated"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The encoder as it will be hosted, and sentences on what was read, assumed or rewritten."""

    encoder: Encoder
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Signature:
    """What a graph says about its one input and the chosen output; None where it leaves a size open."""

    input: str
    output: str
    layout: Literal["nchw", "nhwc"]
    batch: int | None
    depth: int
    height: int | None
    width: int | None


def import_onnx(path: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Write a bundle from a plain ONNX encoder.

    A batch dimension that is fixed is rewritten to take any batch where the graph then still gives
    the same embeddings; else the encoder is run in batches of that size.

    Raises:
        BundleError: no ONNX file, external data, an opset that is too old, or no image encoder.
        OptionError: options are missing, all named at once, or contradict the graph.
    """
    try:
        import onnx  # noqa: PLC0415 - an optional extra, needed here only
    except ImportError as error:
        raise BundleError("Reading ONNX graphs needs the extra: pip install 'lookalike[onnx]'.") from error
    notes: list[str] = []
    try:
        raw = path.read_bytes()
        model = onnx.load_model_from_string(raw)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # protobuf's DecodeError, whose module differs between versions
        raise BundleError(f"{path} is not an ONNX file.") from error
    _check_model(onnx, model, path)
    signature = _read_signature(model, options.output)
    graph = OnnxGraph(
        input=signature.input, output=signature.output, layout=signature.layout, batch=signature.batch
    )
    spec = _spec(signature, graph, options, notes)
    inputs = _reference_inputs(spec.input)
    fixed = OnnxEngine(raw, graph, spec.input)
    dimension = fixed.run(inputs[:1]).shape[1]
    spec = spec.model_copy(update={"dimension": dimension})
    notes.append(f"Embeddings have {dimension} dimensions (output {signature.output!r}).")
    if signature.batch is not None:
        freed = _free_batch(model, signature.input)
        open_graph = graph.model_copy(update={"batch": None})
        if _agree(fixed, freed, open_graph, spec.input, inputs):
            raw, spec = freed, spec.model_copy(update={"onnx": open_graph})
            notes.append(
                f"The batch size was fixed at {signature.batch}: rewritten to take any, same embeddings."
            )
        else:
            notes.append(
                f"The batch size is fixed at {signature.batch} and cannot be freed without changing the "
                "embeddings: pictures are encoded in batches of that size."
            )
    return ImportReport(save_encoder(out, spec, raw, inputs), notes)


def _check_model(onnx: Any, model: Any, path: Path) -> None:
    """Refuse what would not run everywhere."""
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise BundleError(
            f"{path} keeps its weights in a second file (external data). Save it as one file: "
            "onnx.save(onnx.load(path), new_path, save_as_external_data=False)."
        )
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < _OLDEST_OPSET:
        raise BundleError(
            f"{path} uses ONNX opset {opset}, and {_OLDEST_OPSET} or newer is needed. "
            "Convert it with onnx.version_converter, or export it again."
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise BundleError(f"{path} is not a valid ONNX model: {str(error).splitlines()[0]}") from error


def _read_signature(model: Any, wanted_output: str | None) -> _Signature:
    """Read the picture's input and the embedding's output from the graph."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise BundleError(f"An encoder has one input, the pictures; this graph has {len(inputs)}.")
    shape = _shape(inputs[0])
    if len(shape) != 4:
        raise BundleError(
            f"The input {inputs[0].name!r} has {len(shape)} axes; "
            "pictures have 4 (batch, channels, height, width)."
        )
    if inputs[0].type.tensor_type.elem_type != 1:
        raise BundleError(f"The input {inputs[0].name!r} is not float32.")
    outputs = [value.name for value in model.graph.output]
    if wanted_output is None and len(outputs) > 1:
        raise OptionError(
            f"The graph has the outputs {', '.join(outputs)}. Say with --output which is the embedding."
        )
    if wanted_output is not None and wanted_output not in outputs:
        raise OptionError(f"The graph has no output {wanted_output!r}; it has {', '.join(outputs)}.")
    layout: Literal["nchw", "nhwc"] = "nchw"
    if shape[1] not in (1, 3, None) and shape[3] in (1, 3):
        layout = "nhwc"
    depth, height, width = (
        (shape[1], shape[2], shape[3]) if layout == "nchw" else (shape[3], shape[1], shape[2])
    )
    if depth not in (1, 3, None):
        raise BundleError(f"The input has {depth} channels; an image encoder takes 3, or 1 for grey.")
    return _Signature(
        inputs[0].name, wanted_output or outputs[0], layout, shape[0], depth or 3, height, width
    )


def _shape(value: Any) -> list[int | None]:
    """Return the sizes of a graph's tensor, None where they are left open."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def _spec(signature: _Signature, graph: OnnxGraph, options: ImportOptions, notes: list[str]) -> EncoderSpec:
    """Put together what the graph says and what the options add; ask for all that is missing at once."""
    channels = "grey" if signature.depth == 1 else options.channels
    if channels is not None and (channels == "grey") != (signature.depth == 1):
        raise OptionError(
            f"--channels {channels} does not fit the graph's {signature.depth} input channel(s)."
        )
    height, width = signature.height, signature.width
    if options.size is not None:
        if (height or options.size[0], width or options.size[1]) != options.size:
            raise OptionError(f"The graph fixes the input at {height} x {width}; leave --size away.")
        height, width = options.size
    asked = {
        "--size HEIGHTxWIDTH": None if height is None or width is None else (height, width),
        "--mean (ArcFace and InsightFace: 127.5; ImageNet: 123.675,116.28,103.53)": options.mean,
        "--std (ArcFace and InsightFace: 127.5 or 128; ImageNet: 58.395,57.12,57.375)": options.std,
        "--channels rgb or bgr": channels,
        "--normalize or --no-normalize": options.normalize,
    }
    missing = [option for option, value in asked.items() if value is None]
    if missing:
        raise OptionError(f"The graph does not say everything. Add: {'; '.join(missing)}.")
    assert height is not None
    assert width is not None
    assert options.mean is not None
    assert options.std is not None
    assert channels is not None
    assert options.normalize is not None
    if options.pixel_max == 255 and any(0 < value < 1 for value in options.mean):
        raise OptionError(
            f"A mean of {options.mean} looks as if it were meant for pixels from 0 to 1. "
            "Then add --pixel-max 1; else give it for pixels from 0 to 255."
        )
    notes.append(
        f"Pictures are resized to {height} x {width} (height x width), {channels}, {options.resize}."
    )
    return EncoderSpec(
        name=options.name,
        description=options.description or "Imported from an ONNX file.",
        intended_use=options.intended_use,
        licence=options.licence,
        onnx=graph,
        input=InputSpec(
            height=height,
            width=width,
            channels=channels,
            mean=_per_channel("--mean", options.mean, signature.depth, options.pixel_max),
            std=_per_channel("--std", options.std, signature.depth, options.pixel_max),
            resize=options.resize,
        ),
        dimension=1,  # until the graph has been run once
        normalize=options.normalize,
        metric=options.metric,
    )


def _per_channel(option: str, values: tuple[float, ...], depth: int, pixel_max: int) -> tuple[float, ...]:
    """Return one number a channel, for pixels from 0 to 255."""
    if len(values) not in (1, depth):
        raise OptionError(f"{option} takes 1 number or {depth}, one a channel; {len(values)} were given.")
    scaled = tuple(round(value * 255 / pixel_max, 9) for value in values)
    return scaled * depth if len(values) == 1 else scaled


def _reference_inputs(spec: InputSpec) -> Pixels:
    """Draw the pictures whose embeddings the bundle pins."""
    pictures = [
        draw_vehicle(identity, 0, size=(spec.width, spec.height)).convert("L" if spec.depth == 1 else "RGB")
        for identity in range(_REFERENCES)
    ]
    return np.stack(
        [np.asarray(picture).reshape(spec.height, spec.width, spec.depth) for picture in pictures]
    )


def _free_batch(model: Any, input_name: str) -> bytes:
    """Return the graph with an open batch dimension, in its declarations and in its reshapes."""
    freed = type(model)()
    freed.CopyFrom(model)
    graph = freed.graph
    del graph.value_info[:]  # stale shapes, inferred for the fixed batch
    for value in (*graph.input, *graph.output):
        if value.name == input_name or value in graph.output:
            dims = value.type.tensor_type.shape.dim
            if dims:
                dims[0].dim_param = "batch"
    _open_reshapes(graph)
    return bytes(freed.SerializeToString())


def _open_reshapes(graph: Any) -> None:
    """Let constant reshape targets such as [1, 512] keep the batch: a leading 0 means "as it was"."""
    from onnx import numpy_helper  # noqa: PLC0415 - as in import_onnx

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


def _agree(fixed: Engine, freed: bytes, graph: OnnxGraph, spec: InputSpec, inputs: Pixels) -> bool:
    """Say whether the freed graph gives in one batch what the fixed one gives batch by batch."""
    try:
        together = OnnxEngine(freed, graph, spec).run(inputs)
    except Exception:  # a graph that cannot take the batch fails in ONNX Runtime in many ways
        return False
    apart = fixed.run(inputs)
    scale = float(np.abs(apart).max())
    return together.shape == apart.shape and bool(np.abs(together - apart).max() <= _PARITY * scale)
