"""ONNX Runtime as an engine, for graphs."""

import math
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.engines import Device, Embeddings
from models.errors import BundleError, OptionError
from models.images import Pixels
from models.manifest import InputSpec, OnnxGraph
from models.onnx_session import first_line, has_gpu, open_session

__all__ = ["OnnxEngine"]

_LARGEST_TWICE = 256 * 2**20  # bytes of a graph
_THREADS_A_LANE = 4


class OnnxEngine:
    """An ONNX graph in ONNX Runtime: on a GPU where the package that can use one is installed.

    On a CPU one picture alone is computed by all threads together. Several are computed in lanes, a few
    threads each: threads that share the work of one operator wait for each other at its end, in small
    operators longer than they compute, and take the processor from whatever else runs while they wait.

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
        on_gpu = device != "cpu" and has_gpu()
        if device == "cuda" and not on_gpu:
            raise OptionError(
                "The device cuda was asked for, and this ONNX Runtime has none: install onnxruntime-gpu in "
                "place of onnxruntime, or use cpu or auto."
            )
        self.device = "cuda" if on_gpu else "cpu"
        opened = partial(open_session, model, on_gpu=on_gpu)
        count = threads or os.cpu_count() or 1
        self._whole = self._lane = opened(threads)
        self.lanes = 1
        if not on_gpu and count > 1 and len(model) <= _LARGEST_TWICE:  # the weights are in memory twice
            self.lanes = max(2, math.ceil(count / _THREADS_A_LANE))
            self._lane = opened(count // self.lanes)
        self._graph = graph
        self._flip = spec.channels == "bgr"
        plane = (-1, 1, 1) if graph.layout == "nchw" else (-1,)
        self._mean = np.asarray(spec.mean, dtype=np.float32).reshape(plane)
        self._std = np.asarray(spec.std, dtype=np.float32).reshape(plane)

    def run(self, pixels: Pixels, *, alone: bool = True) -> Embeddings:
        """Return the raw (B, D) float32 outputs of (B, H, W, C) uint8 pixels; not alone, in a lane."""
        if not alone:
            return self._run(self._lane, pixels)
        if len(pixels) < self.lanes * (self._graph.batch or 1):
            return self._run(self._whole, pixels)
        parts = np.array_split(pixels, self.lanes)
        return np.concatenate(_at_once([partial(self._run, self._lane, part) for part in parts]))

    def _run(self, session: ort.InferenceSession, pixels: Pixels) -> Embeddings:
        """Run pixels in batches of the size that the graph insists on, where it does."""
        ordered = pixels[..., ::-1] if self._flip else pixels
        planes = ordered.transpose(0, 3, 1, 2) if self._graph.layout == "nchw" else ordered
        # Moved as bytes, and then in place: the plain expression takes five times as long.
        x = np.ascontiguousarray(planes).astype(np.float32)
        x -= self._mean
        x /= self._std
        step = self._graph.batch or len(x)
        parts = [self._run_fixed(session, x[start : start + step], step) for start in range(0, len(x), step)]
        return np.concatenate(parts)

    def _run_fixed(self, session: ort.InferenceSession, x: npt.NDArray[np.float32], size: int) -> Embeddings:
        """Run one batch, filled up to its size."""
        missing = size - len(x)
        filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
        try:
            (output,) = session.run([self._graph.output], {self._graph.input: filled})
        except Exception as error:  # as in `open_session`
            shape = " x ".join(map(str, filled.shape))
            raise BundleError(
                f"ONNX Runtime cannot run the model on input of {shape}. Are size and channels those that it "
                f"was made for? Import it again with others. (It says: {first_line(error)}.)"
            ) from error
        embeddings = np.asarray(output, dtype=np.float32)
        if embeddings.shape[:1] != (size,):
            raise BundleError(f"The graph answers {size} picture(s) with the shape {embeddings.shape}.")
        return embeddings.reshape(size, -1)[: len(x)]


def _at_once(calls: Sequence[Callable[[], Embeddings]]) -> list[Embeddings]:
    """Return what calls give, each made in a thread of its own, the first in this one.

    The threads are daemons, and end with their call: one that hangs does not keep the process.

    Raises:
        Exception: the first of theirs, in their order.
    """
    results: list[Embeddings | Exception | None] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except Exception as error:  # handed to the caller
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(1, len(calls))]
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join()
    given: list[Embeddings] = []
    for result in results:
        if isinstance(result, Exception):
            raise result
        assert result is not None
        given.append(result)
    return given
