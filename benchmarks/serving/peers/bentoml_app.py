"""BentoML: one worker with adaptive batches, JSON with base64.

bentoml serve benchmarks.serving.peers.bentoml_app:Embedding --host 127.0.0.1 --port PORT
"""

from concurrent.futures import ThreadPoolExecutor

import bentoml
import numpy as np

from benchmarks.serving.peers.engine import MAX_BATCH, open_encode, open_preparation, threads_granted


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 256})
class Embedding:
    """A service of one endpoint."""

    def __init__(self) -> None:
        self.preparation, self.encode = open_preparation(), open_encode()
        self.decoders = ThreadPoolExecutor(threads_granted())

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=10_000)
    def embed(self, images: list[str]) -> list[list[float]]:
        """Embed pictures."""
        inputs = list(self.decoders.map(self.preparation.decode_base64, images))
        rows: list[list[float]] = self.encode(np.stack(inputs)).tolist()
        return rows
