"""What every peer runs: a picture decoded with Pillow, and a batch encoded by ONNX Runtime or eager PyTorch.

Written without the service's code, as whoever sets one of these servers up would; the loop that gives the
limit runs it too.
"""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = [
    "ENCODER",
    "ENGINE",
    "MAX_BATCH",
    "THREADS",
    "WAIT_S",
    "Encode",
    "Preparation",
    "Rows",
    "open_encode",
    "open_preparation",
    "threads_granted",
]

Rows = npt.NDArray[np.float32]
Encode = Callable[[Rows], Rows]

# How a peer, which is a process of its own, is told what to serve.
ENCODER, ENGINE, THREADS = "PEER_ENCODER", "PEER_ENGINE", "PEER_THREADS"

MAX_BATCH = 64
WAIT_S = 0.005  # for a batch to fill, where a server wants to be told


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a picture becomes an input.

    Attributes:
        size: (width, height).
        mean, std: by channel, for pixels from 0 to 255.
    """

    size: tuple[int, int]
    mean: Rows
    std: Rows

    def decode(self, data: bytes) -> Rows:
        """Return the (3, H, W) input that a JPEG becomes."""
        image = Image.open(BytesIO(data))
        image.draft("RGB", (2 * max(self.size), 2 * max(self.size)))
        pixels = image.convert("RGB").resize(self.size, Image.Resampling.BILINEAR)
        scaled = (np.asarray(pixels, np.float32) - self.mean) / self.std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def decode_base64(self, text: str) -> Rows:
        """Return the input that a JPEG in base64 becomes."""
        return self.decode(base64.b64decode(text))


def threads_granted() -> int:
    """Return the budget."""
    return int(os.environ[THREADS])


def open_preparation(folder: Path | None = None) -> Preparation:
    """Read how an encoder's pictures are prepared; without a folder, of the one in the environment."""
    recipe = _recipe(folder or _folder())
    return Preparation(
        (recipe["width"], recipe["height"]),
        np.asarray(recipe["mean"], np.float32),
        np.asarray(recipe["std"], np.float32),
    )


def open_encode(folder: Path | None = None, engine: str | None = None, threads: int | None = None) -> Encode:
    """Load a network as `benchmarks.serving.encoders` wrote it; what is not given is in the environment.

    Returns:
        A function from (B, 3, H, W) float32 to (B, D) float32, of length 1; any thread may call it.
    """
    folder = folder or _folder()
    opened = _onnxruntime if (engine or os.environ[ENGINE]) == "onnxruntime" else _pytorch
    run = opened(folder, threads or threads_granted())

    def encode(inputs: Rows) -> Rows:
        raw = run(inputs)
        rows: Rows = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        return rows

    return encode


def _folder() -> Path:
    return Path(os.environ[ENCODER])


def _recipe(folder: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    return recipe


def _onnxruntime(folder: Path, threads: int) -> Encode:
    import onnxruntime as ort  # noqa: PLC0415 - a peer loads one engine, not both

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})[0]


def _pytorch(folder: Path, threads: int) -> Encode:
    import torch  # noqa: PLC0415 - as above

    from benchmarks.serving.networks import build  # noqa: PLC0415 - it imports torch

    torch.set_num_threads(threads)
    network = build(_recipe(folder)["network"])
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    network.eval()

    def run(inputs: Rows) -> Rows:
        with torch.inference_mode():
            rows: Rows = network(torch.from_numpy(inputs)).numpy()
            return rows

    return run
