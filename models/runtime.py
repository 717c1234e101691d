"""A bundle on an engine and a device: pixels in, embeddings out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.bundle import Bundle, Reports, read_bundle, write_bundle
from models.engines import Device, Embeddings, Engine, TorchEngine
from models.errors import BundleError, OptionError, ShapeError
from models.faces import FaceFinder, open_finder
from models.images import Pixels
from models.manifest import EncoderSpec, Manifest
from models.networks import build_network
from models.onnx_engine import OnnxEngine
from models.onnx_session import first_line

__all__ = [
    "PARITY",
    "Encoder",
    "check_parity",
    "load_encoder",
    "load_network",
    "relative_differences",
    "save_encoder",
]

# |got - reference| / |reference|. Engines differ in the last bits; a wrong channel order or a double
# normalisation differs by far more. 0.01 implies a cosine similarity of at least 0.99995.
PARITY = 0.01


class Encoder:
    """A bundle ready to run: (B, H, W, C) pixels in, (B, D) embeddings out.

    At once it has at most as many callers as its engine has lanes. `faces` finds and aligns those of a
    photograph before it is encoded; None where pictures are crops.
    """

    def __init__(self, manifest: Manifest, engine: Engine, faces: FaceFinder | None = None) -> None:
        self.manifest = manifest
        self.engine = engine
        self.faces = faces

    def encode(self, pixels: Pixels, *, alone: bool = True) -> Embeddings:
        """Return the embeddings of decoded pictures.

        Args:
            pixels: (B, H, W, C) uint8 as `models.images.decode` gives them at the manifest's size, in
                RGB or grey; B >= 0.
            alone: all processors may compute them, for nothing else runs or waits.

        Returns:
            (B, D) float32, L2-normalised where the manifest says so (a zero vector stays one).

        Raises:
            ShapeError: the pixels are not of the manifest's size, or not uint8.
            BundleError: the network gave a wrong shape, NaN or infinity, or cannot be run.
        """
        return _embed(self.engine, self.manifest, pixels, alone=alone)


def load_encoder(folder: Path, *, device: Device = "auto", threads: int = 0) -> Encoder:
    """Load a bundle and check that it gives its reference outputs here.

    Args:
        folder: the bundle's.
        device: auto takes a GPU where the bundle's engine has one.
        threads: ONNX Runtime's, 0 for one a core. PyTorch's are the process's (torch.set_num_threads).

    Raises:
        BundleError: the bundle is damaged, cannot be run, or gives other outputs than it states.
        OptionError: the device is not there.
    """
    bundle = read_bundle(folder)
    manifest = bundle.manifest
    if manifest.onnx is not None:
        engine: Engine = OnnxEngine(
            bundle.weights, manifest.onnx, manifest.input, threads=threads, device=device
        )
    else:
        engine = _on_torch(bundle, device)
    check_parity(engine, manifest, bundle.inputs, bundle.outputs)
    given = manifest.input
    faces = open_finder(bundle.detector, manifest.detector, given.height, grey=given.channels == "grey")
    return Encoder(manifest, engine, faces)


def save_encoder(
    folder: Path,
    spec: EncoderSpec,
    weights: dict[str, torch.Tensor] | bytes,
    inputs: Pixels,
    *,
    reports: Reports | None = None,
) -> Encoder:
    """Write a bundle whose reference outputs are what these weights give, and load it back.

    Args:
        folder: where to write it.
        spec: what the author states.
        weights: a state dict for a PyTorch architecture, the file's bytes for ONNX.
        inputs: (n, H, W, C) uint8 reference inputs, n >= 1, in RGB or grey.
        reports: files to put beside them, by name.

    Raises:
        OptionError: a report of another name.
        BundleError: the weights do not fit the spec, or give other outputs when they are run again.
        ShapeError: the inputs are none, or not of the spec's size.
    """
    if len(inputs) == 0:
        raise ShapeError("A bundle needs at least one reference input.", argument="inputs")
    if spec.architecture is not None and isinstance(weights, dict):
        engine: Engine = TorchEngine(load_network(spec, weights), spec.input, "cpu")
    elif spec.onnx is not None and isinstance(weights, bytes):
        engine = OnnxEngine(weights, spec.onnx, spec.input)
    else:
        raise BundleError("A state dict goes with an architecture, and the bytes of a graph with onnx.")
    outputs = _embed(engine, spec, inputs)
    check_parity(engine, spec, inputs, outputs)  # before an older bundle is replaced
    write_bundle(folder, spec, weights, (inputs, outputs), reports=reports)
    return load_encoder(folder, device="cpu")


def _on_torch(bundle: Bundle, device: Device) -> TorchEngine:
    """Return an architecture of ours on PyTorch; on a GPU in half precision, where the outputs bear it."""
    network, spec = load_network(bundle.manifest, bundle.state_dict()), bundle.manifest.input
    engine = TorchEngine(network, spec, device, half=True)
    if engine.device == "cuda":
        try:
            check_parity(engine, bundle.manifest, bundle.inputs, bundle.outputs)
        except BundleError:
            return TorchEngine(network, spec, device)
    return engine


def load_network(spec: EncoderSpec, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Build a spec's architecture, which it must have, and fill in the weights.

    Raises:
        BundleError: the weights do not fit it.
    """
    assert spec.architecture is not None
    try:
        network = build_network(spec.architecture.name, **spec.architecture.params)
        network.load_state_dict(weights)
    except (OptionError, RuntimeError, ValueError) as error:
        raise BundleError(
            f"The weights do not fit the architecture {spec.architecture.name!r} with the parameters that "
            f"the bundle states. Export or import it again. ({first_line(error)}.)"
        ) from error
    return network


def _embed(engine: Engine, spec: EncoderSpec, pixels: Pixels, *, alone: bool = True) -> Embeddings:
    """Run pixels, check what comes out, and normalise it where the spec says so."""
    if len(pixels) == 0:
        return np.empty((0, spec.dimension), dtype=np.float32)
    expected = (spec.input.height, spec.input.width, spec.input.depth)
    if pixels.shape[1:] != expected or pixels.dtype != np.uint8:
        raise ShapeError(
            f"The encoder {spec.name!r} takes (B, {', '.join(map(str, expected))}) uint8 pixels, "
            f"not {pixels.shape} {pixels.dtype}.",
            argument="pixels",
            expected=expected,
            got=pixels.shape[1:],
        )
    raw = engine.run(pixels, alone=alone)
    if raw.shape != (len(pixels), spec.dimension):
        raise BundleError(
            f"The encoder {spec.name!r} gives the shape {raw.shape} for {len(pixels)} picture(s); "
            f"its manifest says {spec.dimension} numbers a picture."
        )
    if not np.isfinite(raw).all():
        raise BundleError(f"The encoder {spec.name!r} gave NaN or infinity.")
    if not spec.normalize:
        return raw
    norms = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    unit: Embeddings = (raw / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def check_parity(engine: Engine, spec: EncoderSpec, inputs: Pixels, outputs: Embeddings) -> None:
    """Compare with the reference outputs, picture by picture."""
    got = _embed(engine, spec, inputs)
    # Negated, so that NaN in the references does not pass.
    if not bool((relative_differences(got, outputs) <= PARITY).all()):
        raise BundleError(
            f"The encoder {spec.name!r} does not give its reference outputs on this engine ({engine.name}). "
            "Was its preprocessing edited (channels, mean, std, normalize), or does it draw random numbers? "
            "Export or import it again."
        )


def relative_differences(got: Embeddings, expected: Embeddings) -> npt.NDArray[np.float64]:
    """Return (B,) |got - expected| / |expected| of each row; 0 for two rows of zeros.

    Args:
        got: (B, D).
        expected: (B, D).
    """
    distances = np.linalg.norm(got.astype(np.float64) - expected, axis=1)
    norms = np.linalg.norm(expected.astype(np.float64), axis=1)
    quotients: npt.NDArray[np.float64] = distances / np.maximum(norms, np.finfo(np.float32).tiny)
    return quotients
