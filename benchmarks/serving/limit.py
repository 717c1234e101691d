"""The limit: pictures decoded and encoded in a loop in one process, without any server."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.serving.peers.engine import Encode, Preparation, Rows, open_encode, open_preparation
from benchmarks.serving.plan import BATCHES

__all__ = ["ARRANGEMENTS", "measure_limit"]

# Runs until the time is over and returns how many pictures it encoded.
_Loop = Callable[["_Parts", int, float], int]


class _Parts:
    """What the loops are made of.

    Args:
        folder: of the encoder.
        pictures: files of JPEGs.
        threads: of the budget.
    """

    def __init__(self, folder: Path, pictures: Sequence[Path], threads: int) -> None:
        self.threads = threads
        self.preparation: Preparation = open_preparation(folder)
        self.encode: Encode = open_encode(folder, "onnxruntime", threads)
        self.narrow: Encode = open_encode(folder, "onnxruntime", 1)
        self.decoders = ThreadPoolExecutor(threads)
        self._files = [path.read_bytes() for path in pictures]

    def files(self) -> Iterator[bytes]:
        """Return an endless round of the pictures."""
        return itertools.cycle(self._files)

    def inputs(self, batch: Sequence[bytes]) -> Rows:
        """Decode a batch with all threads."""
        if len(batch) == 1:
            return self.preparation.decode(batch[0])[None]
        return np.stack(list(self.decoders.map(self.preparation.decode, batch)))


def _in_turn(parts: _Parts, size: int, seconds: float) -> int:
    """Decode a batch with all threads, then encode it with all threads."""
    files, count, end = parts.files(), 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        parts.encode(parts.inputs(list(itertools.islice(files, size))))
        count += size
    return count


def _overlapped(parts: _Parts, size: int, seconds: float) -> int:
    """Decode the next batch while one is encoded; both have all threads."""
    files, count, end = parts.files(), 0, time.perf_counter() + seconds

    def begin() -> list[Future[Rows]]:
        return [
            parts.decoders.submit(parts.preparation.decode, data) for data in itertools.islice(files, size)
        ]

    coming = begin()
    while time.perf_counter() < end:
        inputs = np.stack([one.result() for one in coming])
        coming = begin()
        parts.encode(inputs)
        count += size
    for one in coming:
        one.result()
    return count


def _side_by_side(parts: _Parts, size: int, seconds: float) -> int:
    """As many loops as threads, each decoding and encoding its own batches with one thread."""
    counts = [0] * parts.threads
    end = time.perf_counter() + seconds

    def loop(number: int) -> None:
        files = itertools.islice(parts.files(), number, None)
        while time.perf_counter() < end:
            batch = itertools.islice(files, size)
            parts.narrow(np.stack([parts.preparation.decode(data) for data in batch]))
            counts[number] += size

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(parts.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


ARRANGEMENTS: dict[str, _Loop] = {
    "in turn": _in_turn,
    "overlapped": _overlapped,
    "side by side": _side_by_side,
}


def measure_limit(
    folder: Path, pictures: Sequence[Path], threads: int, seconds: float, calls: int
) -> dict[str, Any]:
    """Time every arrangement at every batch size, and a bare call for one picture.

    Returns:
        `loops`: by arrangement, images/s by batch size; `bare_ms`: the median of one picture decoded and
        encoded, nothing else running.
    """
    parts = _Parts(folder, pictures, threads)
    bare = _bare_ms(parts, calls)
    loops: dict[str, dict[str, float]] = {}
    for name, loop in ARRANGEMENTS.items():
        loops[name] = {}
        for size in BATCHES:
            loop(parts, size, 0.0 if name == "overlapped" else seconds / 5)
            started = time.perf_counter()
            count = loop(parts, size, seconds)
            loops[name][str(size)] = count / (time.perf_counter() - started)
    return {"bare_ms": bare, "loops": loops}


def _bare_ms(parts: _Parts, calls: int) -> float:
    files, took = parts.files(), []
    for turn in range(-calls // 10, calls):
        data = next(files)
        started = time.perf_counter()
        parts.encode(parts.preparation.decode(data)[None])
        if turn >= 0:
            took.append(time.perf_counter() - started)
    return median(took) * 1000
