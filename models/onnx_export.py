"""One of our networks as an ONNX graph, for ONNX Runtime: any batch size, and the same embeddings.

Needs the extra `onnx`; to run what comes out, ONNX Runtime alone is enough.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.bundle import Bundle, read_bundle, write_bundle
from models.engines import TorchEngine
from models.errors import BundleError
from models.manifest import EncoderSpec, InputSpec, OnnxGraph, make_record
from models.onnx_engine import OnnxEngine
from models.runtime import PARITY, Encoder, load_encoder, load_network, relative_differences

__all__ = ["OnnxExport", "export_onnx", "write_exported"]

_GRAPH = OnnxGraph(input="pictures", output="embeddings")
_BATCHES = (1, 2, 7)


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """A graph that gives a bundle's embeddings.

    Attributes:
        source: the bundle that it was made from.
        graph: the bytes of the ONNX file; it takes (B, C, H, W) float32, normalised as the source says.
        pictures: how many were embedded by both engines.
        difference: the largest |ONNX Runtime - PyTorch| / |PyTorch| of their embeddings.
    """

    source: Bundle
    graph: bytes
    pictures: int
    difference: float

    def usage(self) -> str:
        """Return in a sentence what is done before and after the graph, which it does not say itself."""
        spec, given = self.source.manifest, self.source.manifest.input
        after = "L2-normalised afterwards" if spec.normalize else "left as they are"
        return (
            f"it takes (batch, {given.depth}, {given.height}, {given.width}) float32, {given.channels}, from "
            f"pixels of 0 to 255 minus {_listed(given.mean)} and divided by {_listed(given.std)}; embeddings "
            f"are {after} and compared by {spec.metric}."
        )


def export_onnx(folder: Path) -> OnnxExport:
    """Make an ONNX graph of a PyTorch bundle, and see that ONNX Runtime gives the same embeddings.

    They are compared on the reference pictures and as many of noise as the largest batch has, in batches of
    1, 2 and 7.

    Raises:
        BundleError: the bundle is damaged, or holds a graph already; its network cannot be exported, or gives
            other embeddings then; or the extra is not installed.
    """
    if find_spec("onnxscript") is None:
        raise BundleError("Writing ONNX graphs needs onnxscript: in a checkout, pip install '.[onnx]'.")
    source = read_bundle(folder)
    spec = source.manifest
    if spec.architecture is None:
        raise BundleError(f"The encoder {spec.name!r} is a graph for ONNX Runtime already: {folder}.")
    network = load_network(spec, source.state_dict()).eval()
    graph = _graph_of(network, spec.input)
    shape = (max(_BATCHES), spec.input.height, spec.input.width, spec.input.depth)
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pictures = np.concatenate([source.inputs, noise])
    expected = Encoder(spec, TorchEngine(network, spec.input, "cpu")).encode(pictures)
    exported = Encoder(spec, OnnxEngine(graph, _GRAPH, spec.input))
    difference = 0.0
    for size in _BATCHES:
        parts = [exported.encode(pictures[start : start + size]) for start in range(0, len(pictures), size)]
        difference = max(difference, float(relative_differences(np.concatenate(parts), expected).max()))
    if difference > PARITY:
        raise BundleError(
            f"The exported graph of {spec.name!r} gives other embeddings than its network: they differ by "
            f"{difference:.1g} of their length, and {PARITY:g} is the most. It was not written."
        )
    return OnnxExport(source, graph, len(pictures), difference)


def write_exported(export: OnnxExport, out: Path) -> Encoder:
    """Write an exported graph as a bundle, and load it back.

    It states what its source states, names the source's fingerprint, and keeps the source's reference
    outputs: what PyTorch gave is what ONNX Runtime is checked with whenever it is loaded.

    Raises:
        BundleError: the folder holds something else, or cannot be written.
    """
    source = export.source
    stated = source.manifest.model_dump(include=set(EncoderSpec.model_fields))
    stated.update(architecture=None, onnx=_GRAPH, derived_from=source.manifest.fingerprint)
    spec = make_record(EncoderSpec, **stated)
    references = (source.inputs, source.outputs)
    write_bundle(out, spec, export.graph, references, reports=source.reports, detector=source.detector)
    return load_encoder(out, device="cpu")


def _graph_of(network: nn.Module, spec: InputSpec) -> bytes:
    """Return the bytes of a network's ONNX graph, its first axis open.

    The exporter is the one by torch.export: the older one, by tracing, is deprecated, and cannot export every
    network of ours.
    """
    example = torch.zeros(
        2, spec.depth, spec.height, spec.width
    )  # a batch of 1 would be taken for a constant
    axes = {0: torch.export.Dim("batch")}
    with _quiet():
        try:
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                dynamic_shapes=(axes,),
                input_names=[_GRAPH.input],
                output_names=[_GRAPH.output],
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = str(error.__cause__ or error).strip().splitlines()[0]
            raise BundleError(f"This network cannot be exported to ONNX: {cause}") from error
    assert program is not None
    model = program.model_proto
    _drop_notes(model)
    return bytes(model.SerializeToString())


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says about itself, and nobody can act on, from the person."""
    log = logging.getLogger("torch.onnx")  # that torchvision, which nothing here needs, is not installed
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, about torch's own calls
            yield
    finally:
        log.setLevel(level)


def _drop_notes(model: Any) -> None:
    """Take from a graph the exporter's notes: the paths of source files on this machine, line by line."""
    graph = model.graph
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
