"""What runs a network: PyTorch for architectures of ours, ONNX Runtime for graphs."""

import os
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import nn

from models.errors import BundleError, OptionError
from models.images import Pixels
from models.manifest import InputSpec, OnnxGraph

__all__ = ["Device", "Embeddings", "Engine", "OnnxEngine", "TorchEngine", "fill_up", "first_line"]

Embeddings = npt.NDArray[np.float32]
Device = Literal["auto", "cpu", "cuda"]

_ON_CPU, _ON_GPU = "CPUExecutionProvider", "CUDAExecutionProvider"
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
    """One of our architectures in PyTorch, with the normalisation of pixels inside.

    Args:
        network: in any mode; it is moved to the device.
        spec: how pictures become its input.
        device: auto takes a GPU where there is one.
        half: on a GPU, compute in float16 where torch's autocast holds that to be safe.

    Raises:
        OptionError: the device is not there.
    """

    name = "pytorch"

    def __init__(
        self, network: nn.Module, spec: InputSpec, device: Device = "auto", *, half: bool = False
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("The device cuda was asked for and no CUDA device is there. Use cpu or auto.")
        on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        self.device = "cuda" if on_gpu else "cpu"
        self._network = network.to(self.device).eval()
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self._half = half and on_gpu
        self._flip = spec.channels == "bgr"
        self._mean = torch.tensor(spec.mean, device=self.device).view(1, -1, 1, 1)
        self._std = torch.tensor(spec.std, device=self.device).view(1, -1, 1, 1)

    @torch.inference_mode()
    def run(self, pixels: Pixels) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels."""
        x = self._moved(pixels).permute(0, 3, 1, 2)
        x = x.flip(1) if self._flip else x
        x = (x.float() - self._mean) / self._std  # (B, C, H, W)
        try:
            with torch.autocast("cuda", torch.float16, enabled=self._half):
                output: torch.Tensor = self._network(x.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            raise BundleError(f"The network cannot be run: {first_line(error)}.") from error
        return output[: len(pixels)].float().cpu().numpy()

    def _moved(self, pixels: Pixels) -> torch.Tensor:
        """Return pixels on the device, as bytes: a quarter of the traffic of floats."""
        if self.device == "cpu":
            return torch.tensor(np.ascontiguousarray(pixels))
        return torch.from_numpy(fill_up(pixels)).pin_memory().to(self.device, non_blocking=True)


class OnnxEngine:
    """An ONNX graph in ONNX Runtime: on a GPU where the package that can use one is installed.

    Args:
        model: the file's bytes.
        graph: how it is called.
        spec: how pictures become its input.
        threads: for one picture or batch; 0 for one a core.
        device: auto takes a GPU where ONNX Runtime has one.

    Raises:
        OptionError: the device is not there.
        BundleError: ONNX Runtime cannot load the model.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: bytes,
        graph: OnnxGraph,
        spec: InputSpec,
        *,
        threads: int = 0,
        device: Device = "cpu",
    ) -> None:
        on_gpu = device != "cpu" and _ON_GPU in ort.get_available_providers()
        if device == "cuda" and not on_gpu:
            raise OptionError(
                "The device cuda was asked for, and this ONNX Runtime has none: install onnxruntime-gpu in "
                "place of onnxruntime, or use cpu or auto."
            )
        self.device = "cuda" if on_gpu else "cpu"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it complains of is in its exceptions too
        # What was hashed is what runs. A graph can name a second file for its weights, which ONNX Runtime
        # would look for in the working directory; under this name there is never one.
        options.add_session_config_entry(_SECOND_FILES, os.devnull)
        providers = [_ON_GPU, _ON_CPU] if on_gpu else [_ON_CPU]
        try:
            self._session = ort.InferenceSession(model, options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise BundleError(f"ONNX Runtime cannot load the model: {first_line(error)}.") from error
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
            raise BundleError(f"ONNX Runtime cannot run the model: {first_line(error)}.") from error
        embeddings = np.asarray(output, dtype=np.float32)
        if embeddings.shape[:1] != (size,):
            raise BundleError(f"The graph answers {size} picture(s) with the shape {embeddings.shape}.")
        return embeddings.reshape(size, -1)[: len(x)]


def fill_up(pixels: Pixels) -> Pixels:
    """Return a batch whose size is a power of two, the last picture repeated.

    A GPU's libraries look for the best kernels at each new size, and keep memory for it.
    """
    missing = (1 << (len(pixels) - 1).bit_length()) - len(pixels)
    return np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])


def first_line(error: Exception) -> str:
    """Return the first line of a message that may have many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
