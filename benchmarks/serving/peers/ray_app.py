"""Ray Serve: one replica with batches, raw pictures.

python -m benchmarks.serving.peers.ray_app PORT
"""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers.engine import (
    MAX_BATCH,
    WAIT_S,
    Rows,
    open_encode,
    open_preparation,
    threads_granted,
)


@serve.deployment(
    num_replicas=1, max_ongoing_requests=256, max_queued_requests=1024, ray_actor_options={"num_cpus": 1}
)
class Embedding:
    """A deployment of one route."""

    def __init__(self) -> None:
        self.preparation, self.encode = open_preparation(), open_encode()
        self.decoders = ThreadPoolExecutor(threads_granted())

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WAIT_S)
    async def run(self, inputs: list[Rows]) -> list[Rows]:
        """Encode a batch."""
        return list(await asyncio.to_thread(self.encode, np.stack(inputs)))

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Embed the picture that is the body."""
        data = await request.body()
        loop = asyncio.get_running_loop()
        decoded = await loop.run_in_executor(self.decoders, self.preparation.decode, data)
        return {"embedding": (await self.run(decoded)).tolist()}


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 << 20,
        _node_ip_address="127.0.0.1",
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Embedding.bind(), route_prefix="/embed")  # type: ignore[attr-defined]  # the decorator gives it
    while True:
        time.sleep(3600)
