"""Mosec: a stage of processes that decode, and one that encodes in batches; raw pictures.

python -m benchmarks.serving.peers.mosec_app --port PORT --address 127.0.0.1 --timeout 30000
"""

import json
from typing import Any

import numpy as np
from mosec import Server, Worker

from benchmarks.serving.peers.engine import (
    MAX_BATCH,
    WAIT_S,
    Rows,
    open_encode,
    open_preparation,
    threads_granted,
)


class Decode(Worker):
    """Decodes one picture."""

    def __init__(self) -> None:
        super().__init__()
        self.preparation = open_preparation()

    def deserialize(self, data: bytes) -> bytes:
        """Return the body as it is."""
        return data

    def forward(self, data: bytes) -> Rows:
        """Return (3, H, W)."""
        return self.preparation.decode(data)


class Encode(Worker):
    """Encodes a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = open_encode()

    def forward(self, data: list[Rows]) -> list[Any]:
        """Return a row for each picture."""
        rows: list[Any] = self.encode(np.stack(data)).tolist()
        return rows

    def serialize(self, data: list[float]) -> bytes:
        """Return the answer."""
        return json.dumps({"embedding": data}).encode()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=threads_granted())
    server.append_worker(Encode, num=1, max_batch_size=MAX_BATCH, max_wait_time=int(WAIT_S * 1000))
    server.run()
