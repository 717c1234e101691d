"""What runs a network, and the first of two: PyTorch, for architectures of ours."""

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.errors import BundleError, OptionError
from models.images import Pixels
from models.manifest import InputSpec
from models.onnx_session import first_line

__all__ = ["Device", "Embeddings", "Engine", "TorchEngine", "fill_up"]

Embeddings = npt.NDArray[np.float32]
Device = Literal["auto", "cpu", "cuda"]


class Engine(Protocol):
    """Something that runs a network.

    Attributes:
        name, device: what it is, and where.
        lanes: how many callers at once it is fastest with, and at most.
    """

    name: str
    device: str
    lanes: int

    def run(self, pixels: Pixels, *, alone: bool = True) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels; B >= 1.

        Args:
            pixels: the pictures.
            alone: all processors may compute them, for nothing else runs or waits.

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
    lanes = 1

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
    def run(self, pixels: Pixels, *, alone: bool = True) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels."""
        x = self._moved(pixels).permute(0, 3, 1, 2)
        x = x.flip(1) if self._flip else x
        x = (x.float() - self._mean) / self._std  # (B, C, H, W)
        try:
            with torch.autocast("cuda", torch.float16, enabled=self._half):
                output: torch.Tensor = self._network(x.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            batch, height, width, _ = pixels.shape
            raise BundleError(
                f"The network cannot be run on {batch} picture(s) of {height} x {width}. Is it a size that "
                f"it takes, and is there enough memory? (PyTorch says: {first_line(error)}.)"
            ) from error
        return output[: len(pixels)].float().cpu().numpy()

    def _moved(self, pixels: Pixels) -> torch.Tensor:
        """Return pixels on the device, as bytes: a quarter of the traffic of floats."""
        if self.device == "cpu":
            return torch.tensor(np.ascontiguousarray(pixels))
        return torch.from_numpy(fill_up(pixels)).pin_memory().to(self.device, non_blocking=True)


def fill_up(pixels: Pixels) -> Pixels:
    """Return a batch whose size is a power of two, the last picture repeated.

    A GPU's libraries look for the best kernels at each new size, and keep memory for it.
    """
    missing = (1 << (len(pixels) - 1).bit_length()) - len(pixels)
    return np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
