"""A bundle on an engine and a device: pixels in, embeddings out."""

import os
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import nn

from models.bundle import Bundle, Reports, read_bundle, write_bundle
from models.errors import BundleError, OptionError, ShapeError
from models.images import Pixels
from models.manifest import EncoderSpec, InputSpec, Manifest, OnnxGraph
from models.networks import build_network

__all__ = [
    "PARITY",
    "Device",
    "Embeddings",
    "Encoder",
    "Engine",
    "OnnxEngine",
    "TorchEngine",
    "load_encoder",
    "load_network",
    "relative_differences",
    "save_encoder",
]

Embeddings = npt.NDArray[np.float32]
Device = Literal["auto", "cpu", "cuda"]

# |got - reference| / |reference|. Engines differ in the last bits; a wrong channel order or a double
# normalisation differs by far more. 0.01 implies a cosine similarity of at least 0.99995.
PARITY = 0.01

_SECOND_FILES = "session.model_external_initializers_file_folder_path"


class Engine(Protocol):
    """Something that runs a network. One caller at a time."""

    name: str
    device: str

    def run(self, pixels: Pixels) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels; B >= 1.

        Raises:
            BundleError: the network cannot run on these pixels.
        """


class TorchEngine:
    """One of our architectures in PyTorch, with the normalisation of pixels inside."""

    name = "pytorch"

    def __init__(self, network: nn.Module, spec: InputSpec, device: Device = "auto") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("The device cuda was asked for and no CUDA device is there. Use cpu or auto.")
        on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        self.device = "cuda" if on_gpu else "cpu"
        self._network = network.to(self.device).eval()
        self._flip = spec.channels == "bgr"
        self._mean = torch.tensor(spec.mean, device=self.device).view(1, -1, 1, 1)
        self._std = torch.tensor(spec.std, device=self.device).view(1, -1, 1, 1)

    @torch.inference_mode()
    def run(self, pixels: Pixels) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels."""
        x = torch.tensor(np.ascontiguousarray(pixels), device=self.device).permute(0, 3, 1, 2)
        x = x.flip(1) if self._flip else x
        x = (x.float() - self._mean) / self._std  # (B, C, H, W)
        try:
            output: torch.Tensor = self._network(x.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            raise BundleError(f"The network cannot be run: {_first_line(error)}.") from error
        return output.float().cpu().numpy()


class OnnxEngine:
    """An ONNX graph in ONNX Runtime on the CPU."""

    name = "onnxruntime"
    device = "cpu"

    def __init__(self, model: bytes, graph: OnnxGraph, spec: InputSpec, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it complains of is in its exceptions too
        # What was hashed is what runs. A graph can name a second file for its weights, which ONNX Runtime
        # would look for in the working directory; under this name there is never one.
        options.add_session_config_entry(_SECOND_FILES, os.devnull)
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise BundleError(f"ONNX Runtime cannot load the model: {_first_line(error)}.") from error
        self._graph = graph
        self._flip = spec.channels == "bgr"
        self._mean = np.asarray(spec.mean, dtype=np.float32)
        self._std = np.asarray(spec.std, dtype=np.float32)

    def run(self, pixels: Pixels) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels."""
        ordered = pixels[..., ::-1] if self._flip else pixels
        scaled = (ordered.astype(np.float32) - self._mean) / self._std  # (B, H, W, C)
        x = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2) if self._graph.layout == "nchw" else scaled)
        step = self._graph.batch or len(x)
        parts = [self._run_fixed(x[start : start + step], step) for start in range(0, len(x), step)]
        return np.concatenate(parts)

    def _run_fixed(self, x: npt.NDArray[np.float32], size: int) -> Embeddings:
        """Run one batch, filled up to the size that the graph insists on."""
        missing = size - len(x)
        filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
        try:
            (output,) = self._session.run([self._graph.output], {self._graph.input: filled})
        except Exception as error:  # as above
            raise BundleError(f"ONNX Runtime cannot run the model: {_first_line(error)}.") from error
        embeddings = np.asarray(output, dtype=np.float32)
        if embeddings.shape[:1] != (size,):
            raise BundleError(f"The graph answers {size} picture(s) with the shape {embeddings.shape}.")
        return embeddings.reshape(size, -1)[: len(x)]


class Encoder:
    """A bundle ready to run: (B, H, W, C) pixels in, (B, D) embeddings out. One caller at a time."""

    def __init__(self, manifest: Manifest, engine: Engine) -> None:
        self.manifest = manifest
        self.engine = engine

    def encode(self, pixels: Pixels) -> Embeddings:
        """Return the embeddings of decoded pictures.

        Args:
            pixels: (B, H, W, C) uint8 as `models.images.decode` gives them at the manifest's size, in
                RGB or grey; B >= 0.

        Returns:
            (B, D) float32, L2-normalised where the manifest says so (a zero vector stays one).

        Raises:
            ShapeError: the pixels are not of the manifest's size, or not uint8.
            BundleError: the network gave a wrong shape, NaN or infinity, or cannot be run.
        """
        return _embed(self.engine, self.manifest, pixels)


def load_encoder(folder: Path, *, device: Device = "auto", threads: int = 0) -> Encoder:
    """Load a bundle and check that it gives its reference outputs here.

    Args:
        folder: the bundle's.
        device: for PyTorch; auto takes a GPU where there is one. ONNX graphs run on the CPU.
        threads: ONNX Runtime's, 0 for one a core. PyTorch's are the process's (torch.set_num_threads).

    Raises:
        BundleError: the bundle is damaged, cannot be run, or gives other outputs than it states.
        OptionError: the device is not there.
    """
    bundle = read_bundle(folder)
    engine = _engine(bundle, device, threads)
    _check_parity(engine, bundle.manifest, bundle.inputs, bundle.outputs)
    return Encoder(bundle.manifest, engine)


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
    _check_parity(engine, spec, inputs, outputs)  # before an older bundle is replaced
    write_bundle(folder, spec, weights, (inputs, outputs), reports=reports)
    return load_encoder(folder, device="cpu")


def _engine(bundle: Bundle, device: Device, threads: int) -> Engine:
    """Choose the engine that the bundle is made for."""
    manifest = bundle.manifest
    if manifest.onnx is not None:
        return OnnxEngine(bundle.weights, manifest.onnx, manifest.input, threads)
    return TorchEngine(load_network(manifest, bundle.state_dict()), manifest.input, device)


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
            f"The weights do not fit the architecture {spec.architecture.name!r}: {_first_line(error)}"
        ) from error
    return network


def _embed(engine: Engine, spec: EncoderSpec, pixels: Pixels) -> Embeddings:
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
    raw = engine.run(pixels)
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


def _check_parity(engine: Engine, spec: EncoderSpec, inputs: Pixels, outputs: Embeddings) -> None:
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


def _first_line(error: Exception) -> str:
    """Return the first line of a message that may have many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
