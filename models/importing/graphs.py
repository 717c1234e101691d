"""A plain ONNX encoder made into a bundle: what the graph says is read, the rest is asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.engines import Embeddings
from models.errors import BundleError, OptionError
from models.images import Pixels
from models.importing.options import ImportOptions, ImportReport
from models.importing.preparation import Preparation, described, reference_inputs
from models.importing.presets import stated
from models.importing.statements import spec_of
from models.manifest import InputSpec, OnnxGraph
from models.onnx_engine import OnnxEngine
from models.onnx_graph import Signature, free_batch, normalises_pixels, read_model, read_signature
from models.runtime import save_encoder

__all__ = ["import_onnx"]

_PARITY = 1e-4


def import_onnx(path: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Write a bundle from a plain ONNX encoder.

    A graph that is fixed to one batch size is rewritten to take any, where it then still gives the
    same embeddings; else the encoder is run in batches of that size.

    Raises:
        BundleError: no ONNX file, external data, an opset that is too old, no image encoder, or the
            bundle cannot be written.
        OptionError: options are missing, all named at once, or contradict the graph.
    """
    if options.take is not None:
        raise OptionError("--take is for state dicts and model folders. An ONNX graph has --output.")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    model = read_model(raw, str(path))
    signature = read_signature(model, options.output)
    itself = options.preset is not None and normalises_pixels(model, signature.input)
    prepared = _prepared(signature, options, itself=itself)
    input_spec = prepared.input_spec()
    notes = [described(input_spec)]
    if itself:
        notes.append("The graph normalises pixels by itself, so the preset's mean and std are left away.")
    if options.size is None and None in (signature.height, signature.width):
        notes.append(f"The graph leaves its size open, and the preset {options.preset} says it; or --size.")
    inputs = reference_inputs(input_spec)
    settled = _settle_batch(model, raw, signature, inputs, input_spec)
    notes += settled.notes
    notes.append(f"Embeddings have {settled.dimension} dimensions (output {signature.output!r}).")
    spec = spec_of(
        options, prepared, input_spec, settled.graph, dimension=settled.dimension, source="an ONNX file"
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
        together = OnnxEngine(raw, graph, spec, threads=1).run(inputs)  # in one batch, not in lanes
    except BundleError:  # it cannot take the batch
        return False
    scale = float(np.abs(apart).max())
    return together.shape == apart.shape and bool(np.abs(together - apart).max() <= _PARITY * scale)


def _prepared(signature: Signature, options: ImportOptions, *, itself: bool) -> Preparation:
    """Put together what the graph says and what else is known; ask for all that is missing at once.

    Args:
        signature: the graph's.
        options: a person's.
        itself: whether the graph normalises pixels.
    """
    file = Preparation(channels="grey" if signature.depth == 1 and options.channels is None else None)
    if itself:
        file = Preparation(mean=(0.0,), std=(1.0,), channels=file.channels)
    known = stated(options, file)
    depth = signature.depth or (1 if known.channels == "grey" else 3)
    if known.channels is not None and (known.channels == "grey") != (depth == 1):
        raise OptionError(f"--channels {known.channels} does not fit the graph's {depth} input channel(s).")
    prepared = replace(known, size=_size(signature, options, known.size))
    prepared.check("The graph")
    return prepared


def _size(
    signature: Signature, options: ImportOptions, known: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Return (height, width) as the graph fixes it, else as it is known.

    Raises:
        OptionError: --size, or else the preset, has another one than the graph.
    """
    height, width = signature.height, signature.width
    if known is None:
        return None if height is None or width is None else (height, width)
    fitting = height or known[0], width or known[1]
    if fitting == known:
        return known
    fixed = f"The graph fixes the input at {height or 'any'} x {width or 'any'} (height x width)"
    if options.size is not None:
        raise OptionError(f"{fixed}, which --size {known[0]}x{known[1]} does not fit.")
    raise OptionError(
        f"{fixed}, and the preset {options.preset} is for {known[0]} x {known[1]}: is it the preset of "
        f"another encoder? If its other numbers are right, add --size {fitting[0]}x{fitting[1]}."
    )
