"""How fast engines run an encoder: the best of some rounds, by turns.

python -m models.fastest BUNDLE GRAPH THREADS    prints it as JSON

A process of its own measures PyTorch as it is: beside other threads that have computed with it, OpenMP lets
its helpers sleep between two operators.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from models.errors import LookalikeError
from models.images import Pixels
from models.runtime import Encoder, load_encoder

__all__ = ["MEASURED_BATCH", "Seconds", "measure_engines"]

Seconds = tuple[float, float]  # for one picture, for MEASURED_BATCH

MEASURED_BATCH = 16  # as many as come together under load
_ROUNDS, _ENOUGH_S = 5, 3.0


def measure_engines(encoders: Sequence[Encoder]) -> dict[str, Seconds]:
    """Return the best seconds of each encoder for one picture and for a batch, by its engine's name.

    Args:
        encoders: one bundle on different engines.

    Raises:
        BundleError: an engine cannot run the batch.
    """
    spec = encoders[0].manifest.input
    shape = (MEASURED_BATCH, spec.height, spec.width, spec.depth)
    noise: Pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    best = {encoder.engine.name: (math.inf, math.inf) for encoder in encoders}
    for encoder in encoders:
        _time(encoder, noise)  # warm
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        for encoder in encoders:
            one, many = best[encoder.engine.name]
            one, many = min(one, _time(encoder, noise[:1])), min(many, _time(encoder, noise))
            best[encoder.engine.name] = (one, many)
        if time.perf_counter() - began > _ENOUGH_S:
            break
    return best


def _time(encoder: Encoder, pixels: Pixels) -> float:
    started = time.perf_counter()
    encoder.encode(pixels)
    return time.perf_counter() - started


def _main(bundle: str, graph: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    try:
        encoders = [load_encoder(Path(one), device="cpu", threads=int(threads)) for one in (bundle, graph)]
        sys.stdout.write(json.dumps(measure_engines(encoders)))
    except LookalikeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main(*sys.argv[1:])
