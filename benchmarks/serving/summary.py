"""What the rounds come to: medians, the loop at its best, and why a server has no figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.learning.records import Record
from benchmarks.serving.servers import EAGER, OURS, SERVERS, Server

__all__ = ["Cell", "Loop", "Summary"]


@dataclass(frozen=True, slots=True)
class Loop:
    """The loop in one arrangement at its best batch size.

    Attributes:
        arrangement: a key of `benchmarks.serving.limit.ARRANGEMENTS`.
        batch: the size.
        images_per_s: the median of the rounds.
    """

    arrangement: str
    batch: int
    images_per_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A server under one number of clients, over its rounds.

    Attributes:
        images_per_s, p50_ms, p99_ms, generator_cpu, server_cpu: medians.
        slowest, fastest: images/s of the rounds.
        failed: answers that were no embedding, and connections that broke, in all rounds.
    """

    images_per_s: float
    p50_ms: float
    p99_ms: float
    generator_cpu: float
    server_cpu: float
    slowest: float
    fastest: float
    failed: int


class Summary:
    """Reads the records of one encoder.

    Args:
        limits: of the loop, a round each.
        servers: by `Server.key`, a record a round; one with a `problem` counts as none.
    """

    def __init__(self, limits: Sequence[Record], servers: Mapping[str, Sequence[Record]]) -> None:
        self._limits = limits
        self._servers = servers

    def loops(self) -> list[Loop]:
        """Return every arrangement at its best batch size."""
        if not self._limits:
            return []
        found = []
        for arrangement, sizes in self._limits[0]["loops"].items():
            speeds = {size: median(one["loops"][arrangement][size] for one in self._limits) for size in sizes}
            best = max(speeds, key=lambda size: speeds[size])
            found.append(Loop(arrangement, int(best), speeds[best]))
        return found

    def limit(self) -> Loop | None:
        """Return the fastest of them, which is what servers are measured by."""
        return max(self.loops(), key=lambda one: one.images_per_s, default=None)

    def bare_ms(self) -> float | None:
        """Return how long one picture takes without a server."""
        return median(one["bare_ms"] for one in self._limits) if self._limits else None

    def cell(self, server: Server, clients: int) -> Cell | None:
        """Return what a server did; None where it did nothing."""
        loads = [one["loads"][str(clients)] for one in self._good(server)]
        if not loads:
            return None
        speeds = [load["images_per_s"] for load in loads]
        names = ("images_per_s", "p50_ms", "p99_ms", "generator_cpu", "server_cpu")
        medians = {name: median(load[name] for load in loads) for name in names}
        failed = sum(load["refused"] + load["broken"] for load in loads)
        return Cell(**medians, slowest=min(speeds), fastest=max(speeds), failed=failed)

    def memory_bytes(self, server: Server) -> float | None:
        """Return the median of a server's memory."""
        good = self._good(server)
        return median(one["bytes"] for one in good) if good else None

    def problem(self, server: Server) -> str:
        """Return why a server has no figures."""
        for record in self._servers.get(server.key, ()):
            if "problem" in record:
                reason: str = record["problem"]
                return reason
        return "not measured yet"

    def rounds(self, server: Server) -> int:
        """Return how many rounds a server has figures of."""
        return len(self._good(server))

    def _good(self, server: Server) -> list[Record]:
        return [one for one in self._servers.get(server.key, ()) if "problem" not in one]

    @staticmethod
    def peers(*, eager: bool) -> list[Server]:
        """Return the servers of others, on the same engine or as they are usually set up."""
        return [one for one in SERVERS if one.peer and one.title.endswith(EAGER) == eager]

    @staticmethod
    def ours() -> Server:
        """Return this service on the engine that all have."""
        return next(one for one in SERVERS if one.title == OURS)
