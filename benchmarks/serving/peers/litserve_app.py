"""LitServe: one worker, batches, JSON with base64.

python -m benchmarks.serving.peers.litserve_app PORT
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litserve as ls
import numpy as np

from benchmarks.serving.peers.engine import (
    MAX_BATCH,
    WAIT_S,
    Rows,
    open_encode,
    open_preparation,
    threads_granted,
)


class Embedding(ls.LitAPI):
    """The stages of a request, in the worker's process."""

    def setup(self, device: Any) -> None:
        """Load the engine."""
        self.preparation, self.encode = open_preparation(), open_encode()
        self.decoders = ThreadPoolExecutor(threads_granted())

    def decode_request(self, request: dict[str, str]) -> str:
        """Leave decoding to the batch, where several threads do it."""
        return request["image"]

    def batch(self, inputs: Sequence[str]) -> Rows:
        """Return (B, 3, H, W)."""
        return np.stack(list(self.decoders.map(self.preparation.decode_base64, inputs)))

    def predict(self, inputs: Rows) -> Rows:
        """Return (B, D)."""
        return self.encode(inputs)

    def unbatch(self, output: Rows) -> list[list[float]]:
        """Return a row for each request."""
        rows: list[list[float]] = output.tolist()
        return rows

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """Return the answer."""
        return {"embedding": output}


if __name__ == "__main__":
    server = ls.LitServer(
        Embedding(max_batch_size=MAX_BATCH, batch_timeout=WAIT_S),
        accelerator="cpu",
        workers_per_device=1,
        max_payload_size=8 << 20,
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
