"""A plain ONNX encoder made into a bundle: what the graph says is read, the rest is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from models.drawing import draw_vehicle
from models.engines import Embeddings, OnnxEngine
from models.errors import BundleError, OptionError
from models.images import Pixels, Resize
from models.manifest import Channels, EncoderSpec, InputSpec, OnnxGraph, make_record
from models.onnx_graph import Signature, free_batch, read_model, read_signature
from models.runtime import Encoder, save_encoder

__all__ = ["ImportOptions", "ImportReport", "import_onnx"]

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


def import_onnx(path: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Write a bundle from a plain ONNX encoder.

    A graph that is fixed to one batch size is rewritten to take any, where it then still gives the
    same embeddings; else the encoder is run in batches of that size.

    Raises:
        BundleError: no ONNX file, external data, an opset that is too old, no image encoder, or the
            bundle cannot be written.
        OptionError: options are missing, all named at once, or contradict the graph.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    model = read_model(raw, str(path))
    signature = read_signature(model, options.output)
    input_spec = _input_spec(signature, options)
    notes = [
        f"Pictures are resized to {input_spec.height} x {input_spec.width} (height x width), "
        f"{input_spec.channels}, {input_spec.resize}."
    ]
    inputs = _reference_inputs(input_spec)
    settled = _settle_batch(model, raw, signature, inputs, input_spec)
    notes += settled.notes
    notes.append(f"Embeddings have {settled.dimension} dimensions (output {signature.output!r}).")
    spec = make_record(
        EncoderSpec,
        name=options.name,
        description=options.description or "Imported from an ONNX file.",
        intended_use=options.intended_use,
        licence=options.licence,
        onnx=settled.graph,
        input=input_spec,
        dimension=settled.dimension,
        normalize=options.normalize,
        metric=options.metric,
    )
    return ImportReport(save_encoder(out, spec, settled.raw, inputs), notes)


class _Settled(NamedTuple):
    """The graph's bytes, how to call it, D, and sentences on what was done to it."""

    raw: bytes
    graph: OnnxGraph
    dimension: int
    notes: tuple[str, ...] = ()


def _settle_batch(model: Any, raw: bytes, signature: Signature, inputs: Pixels, spec: InputSpec) -> _Settled:
    """Have the graph take any batch size if the embeddings allow it."""
    size = signature.batch or 1
    fixed = OnnxGraph(input=signature.input, output=signature.output, layout=signature.layout, batch=size)
    apart = OnnxEngine(raw, fixed, spec).run(inputs)
    dimension = apart.shape[1]
    free = fixed.model_copy(update={"batch": None})
    if signature.batch is None and _agree(raw, free, spec, inputs, apart):
        return _Settled(raw, free, dimension)
    freed = free_batch(model, signature.input)
    if _agree(freed, free, spec, inputs, apart):
        note = f"The graph took batches of {size} only: rewritten to take any, same embeddings."
        return _Settled(freed, free, dimension, (note,))
    note = (
        f"The graph takes batches of {size} only and cannot be freed without changing the embeddings: "
        "pictures are encoded in batches of that size."
    )
    return _Settled(raw, fixed, dimension, (note,))


def _agree(raw: bytes, graph: OnnxGraph, spec: InputSpec, inputs: Pixels, apart: Embeddings) -> bool:
    """Say whether a graph gives in one batch what it gave in batches of its own size."""
    try:
        together = OnnxEngine(raw, graph, spec).run(inputs)
    except BundleError:  # it cannot take the batch
        return False
    scale = float(np.abs(apart).max())
    return together.shape == apart.shape and bool(np.abs(together - apart).max() <= _PARITY * scale)


def _input_spec(signature: Signature, options: ImportOptions) -> InputSpec:
    """Put together what the graph says and what the options add; ask for all that is missing at once."""
    channels = options.channels or ("grey" if signature.depth == 1 else None)
    depth = signature.depth or (1 if channels == "grey" else 3)
    if channels is not None and (channels == "grey") != (depth == 1):
        raise OptionError(f"--channels {channels} does not fit the graph's {depth} input channel(s).")
    height, width = _size(signature, options.size)
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
    assert options.mean is not None
    assert options.std is not None
    _check_range(options.mean, options.std, options.pixel_max)
    return make_record(
        InputSpec,
        height=height,
        width=width,
        channels=channels,
        mean=_per_channel("--mean", options.mean, depth, options.pixel_max),
        std=_per_channel("--std", options.std, depth, options.pixel_max),
        resize=options.resize,
    )


def _size(signature: Signature, wanted: tuple[int, int] | None) -> tuple[int | None, int | None]:
    """Return (height, width) as the graph fixes it, else as it is wanted."""
    height, width = signature.height, signature.width
    if wanted is None:
        return height, width
    if (height or wanted[0], width or wanted[1]) != wanted:
        raise OptionError(
            f"The graph fixes the input at {height or 'any'} x {width or 'any'} (height x width), which "
            f"--size {wanted[0]}x{wanted[1]} does not fit."
        )
    return wanted


def _check_range(mean: tuple[float, ...], std: tuple[float, ...], pixel_max: int) -> None:
    """Refuse numbers that are plainly meant for the other range of pixels."""
    if pixel_max == 255 and any(0 < value < 1 for value in (*mean, *std)):
        raise OptionError(
            f"A mean of {mean} and std of {std} look as if they were meant for pixels from 0 to 1. "
            "Then add --pixel-max 1; else give them for pixels from 0 to 255."
        )
    if pixel_max == 1 and any(value > 1 for value in mean):
        raise OptionError(
            f"A mean of {mean} looks as if it were meant for pixels from 0 to 255. "
            "Then leave --pixel-max away; else give it for pixels from 0 to 1."
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
