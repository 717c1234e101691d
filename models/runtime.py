"""A bundle on an engine and a device: pixels in, embeddings out."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import nn

from models.bundle import Bundle, EncoderSpec, InputSpec, Manifest, OnnxGraph, read_bundle, write_bundle
from models.distances import paired
from models.errors import BundleError, OptionError
from models.images import Pixels
from models.networks import build_network

__all__ = ["Device", "Embeddings", "Encoder", "Engine", "load_encoder", "save_encoder"]

Embeddings = npt.NDArray[np.float32]
Device = Literal["auto", "cpu", "cuda"]

# Engines differ in the last bits; a wrong channel order or a double normalisation differs by far more.
_PARITY = 1e-4


class Engine(Protocol):
    """Something that runs a network. One caller at a time."""

    name: str
    device: str

    def run(self, pixels: Pixels) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels; B >= 1."""


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
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device).permute(0, 3, 1, 2)
        x = x.flip(1) if self._flip else x
        x = (x.float() - self._mean) / self._std  # (B, C, H, W)
        output: torch.Tensor = self._network(x.contiguous(memory_format=torch.channels_last))
        return output.float().cpu().numpy()


class OnnxEngine:
    """An ONNX graph in ONNX Runtime on the CPU."""

    name = "onnxruntime"
    device = "cpu"

    def __init__(self, model: bytes, graph: OnnxGraph, spec: InputSpec, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # its warnings about graphs are not for the reader of our log
        try:
            # From bytes, so that what was hashed is what runs, and no second file is ever opened.
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
        (output,) = self._session.run([self._graph.output], {self._graph.input: filled})
        return np.asarray(output, dtype=np.float32).reshape(size, -1)[: len(x)]


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
            (B, D) float32, L2-normalised where the manifest says so.

        Raises:
            BundleError: the network gave a wrong shape, NaN or infinity.
        """
        if len(pixels) == 0:
            return np.empty((0, self.manifest.dimension), dtype=np.float32)
        raw = self.engine.run(pixels)
        return _finished(raw, self.manifest)


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
    encoder = Encoder(bundle.manifest, _engine(bundle, device, threads))
    _check_parity(encoder, bundle)
    return encoder


def save_encoder(
    folder: Path, spec: EncoderSpec, weights: dict[str, torch.Tensor] | bytes, inputs: Pixels
) -> Encoder:
    """Write a bundle whose reference outputs are what these weights give, and load it back.

    Args:
        folder: where to write it.
        spec: what the author states.
        weights: a state dict for a PyTorch architecture, the file's bytes for ONNX.
        inputs: (n, H, W, C) uint8 reference inputs, n >= 1, in RGB or grey.

    Raises:
        BundleError: the weights do not fit the spec.
    """
    if spec.architecture is not None and isinstance(weights, dict):
        engine: Engine = TorchEngine(_network(spec, weights), spec.input, "cpu")
    elif spec.onnx is not None and isinstance(weights, bytes):
        engine = OnnxEngine(weights, spec.onnx, spec.input)
    else:
        raise BundleError("A state dict goes with an architecture, and the bytes of a graph with onnx.")
    outputs = _finished(engine.run(inputs), spec)
    write_bundle(folder, spec, weights, (inputs, outputs))
    return load_encoder(folder, device="cpu")


def _engine(bundle: Bundle, device: Device, threads: int) -> Engine:
    """Choose the engine that the bundle is made for."""
    manifest = bundle.manifest
    if manifest.onnx is not None:
        return OnnxEngine(bundle.weights, manifest.onnx, manifest.input, threads)
    return TorchEngine(_network(manifest, bundle.state_dict()), manifest.input, device)


def _network(spec: EncoderSpec, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Build the architecture and fill in the weights."""
    assert spec.architecture is not None
    network = build_network(spec.architecture.name, **spec.architecture.params)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise BundleError(
            f"The weights do not fit the architecture {spec.architecture.name!r}: {_first_line(error)}"
        ) from error
    return network


def _finished(raw: Embeddings, spec: EncoderSpec) -> Embeddings:
    """Check raw outputs and normalise them where the spec says so."""
    if raw.shape[1:] != (spec.dimension,):
        raise BundleError(
            f"The encoder {spec.name!r} gives {raw.shape[1:]} numbers a picture; "
            f"its manifest says {spec.dimension}."
        )
    if not np.isfinite(raw).all():
        raise BundleError(f"The encoder {spec.name!r} gave NaN or infinity.")
    if not spec.normalize:
        return raw
    norms = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    unit: Embeddings = (raw / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def _check_parity(encoder: Encoder, bundle: Bundle) -> None:
    """Compare with the reference outputs: cosine similarity and length must both agree."""
    got = encoder.encode(bundle.inputs)
    if got.shape != bundle.outputs.shape:
        raise BundleError("The bundle's reference outputs have another shape than the encoder gives.")
    similar = paired(torch.from_numpy(got), torch.from_numpy(bundle.outputs), "cosine") <= _PARITY
    lengths = np.linalg.norm(got, axis=1) / np.linalg.norm(bundle.outputs, axis=1)
    if not bool(similar.all()) or not np.allclose(lengths, 1, rtol=1e-2):
        raise BundleError(
            f"The encoder {bundle.manifest.name!r} does not give its reference outputs on this engine "
            f"({encoder.engine.name}). Was its preprocessing edited (channels, mean, std, normalize)? "
            "Export or import it again."
        )


def _first_line(error: Exception) -> str:
    """Return the first line of a message that may have many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
