"""A thousand clients that leave at once: what they wanted is dropped, and nothing of them stays."""

import asyncio
import time

from benchmarks.hosting.figures import Criterion, Scenario
from benchmarks.hosting.loads import Mix
from benchmarks.hosting.site import Site

__all__ = ["run"]

_CLIENTS = 1000
_FEWEST = 200
_WAVES = 5
_PATIENCE_S = 60.0
_MOST_GROWTH = 32 * 2**20

_TOLD = (
    "Clients that each send a picture and, once all of these wait, leave at once, in waves. Memory is "
    "compared after the first wave and after the last, for the first makes Python's heap as large as it gets."
)


async def run(site: Site, scale: float) -> Scenario:
    """Let waves of clients come and leave."""
    clients = max(_FEWEST, int(min(1.0, 10 * scale) * _CLIENTS))
    threads, files = site.threads(), site.files()
    dropped, idle, memory = 0.0, list[float](), list[int]()
    waves = _WAVES if scale >= 0.5 else 2
    for _ in range(waves):
        came_to, seconds = await _wave(site, clients)
        dropped += came_to
        idle.append(seconds)
        memory.append(site.memory())
    left = {name: await site.metrics(name) for name in ("waiting_images", "waiting_bytes")}
    running = await site.metrics("running_requests") - 1  # the one that asks
    more = [site.threads() - threads, site.files() - files]
    growth = memory[-1] - memory[0]
    works = await site.healthy()
    criteria = [
        Criterion(
            "pending work is dropped, by the counter",
            f"{dropped:,.0f} of {waves * clients:,} pictures were, the others had begun",
            dropped > 0.5 * waves * clients,
        ),
        Criterion(
            "nothing stays of tasks and queues",
            f"{running:.0f} requests running, {left['waiting_images']:.0f} pictures and "
            f"{left['waiting_bytes']:.0f} bytes waiting, {more[0]:+d} threads, {more[1]:+d} files",
            running == 0 and not any(left.values()) and more[1] <= 2,
        ),
        Criterion(
            "memory does not grow (at most 32 MiB from the first wave to the last)",
            f"{growth / 2**20:+.1f} MiB",
            growth <= _MOST_GROWTH,
        ),
        Criterion("the server is alive and ready after it", "yes" if works else "no", works),
    ]
    rows = [("seconds until nothing waited, by wave", ", ".join(f"{one:.2f}" for one in idle))]
    return Scenario(f"{clients:,} clients that disconnect at once", _TOLD, criteria, rows, {})


async def _wave(site: Site, clients: int) -> tuple[float, float]:
    """Return how many pictures were dropped, and after how long nothing waited any more."""
    dropped, mix = await site.metrics("dropped_images_total"), Mix(site.good)
    connections = [await site.connections.connect() for _ in range(clients)]
    for connection in connections:
        connection.send(mix.next()[1])
    # What has been answered before all have arrived does not wait; so nobody waits for all of them.
    await asyncio.sleep(0.5)
    left = time.perf_counter()
    for connection in connections:
        connection.abort()
    while await site.metrics("waiting_images") or await site.metrics("running_requests") > 1:
        if time.perf_counter() - left > _PATIENCE_S:
            break
        await asyncio.sleep(0.02)
    return await site.metrics("dropped_images_total") - dropped, time.perf_counter() - left
