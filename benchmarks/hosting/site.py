"""A server that is stressed, and what can be seen of it from outside."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.hosting.checking import Oracle
from benchmarks.hosting.client import Connections, request
from benchmarks.hosting.pictures import Picture, corrupt_pictures, good_pictures
from tests.system.serving import Server

__all__ = ["MOST_CONNECTIONS", "Site"]

MOST_CONNECTIONS = 4000
_GOOD = 64
_EVERY_S = 1.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Site:
    """A running server, connections to it, and the pictures with what they must be answered with.

    Attributes:
        connections: to the server.
        good, corrupt: pictures.
        oracle: knows the answers.
        rss: (seconds since the beginning, bytes) of the server's memory, once a second while it is watched.
    """

    def __init__(self, server: Server, connections: Connections, oracle: Oracle, good: list[Picture]) -> None:
        self._server = server
        self.connections, self.oracle = connections, oracle
        self.good, self.corrupt = good, corrupt_pictures()
        self.rss: list[tuple[float, int]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, server: Server) -> AsyncIterator["Site"]:
        """Connect to a server that nobody uses yet, and ask it for the embeddings that are right."""
        async with Connections(server.url, MOST_CONNECTIONS) as connections:
            good = good_pictures(_GOOD)
            site = cls(server, connections, await Oracle.ask(connections, good), good)
            watching = asyncio.create_task(site._watch())
            try:
                yield site
            finally:
                watching.cancel()

    def memory(self) -> int:
        """Return the server's resident memory in bytes."""
        return 1024 * int(self._status("VmRSS"))

    def threads(self) -> int:
        """Return how many threads it has."""
        return int(self._status("Threads"))

    def files(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self._server.pid}/fd").iterdir()))

    def cpu(self) -> float:
        """Return the seconds of processor time that it has taken."""
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def metrics(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; 0 where there are none."""
        answer = await self.connections.ask(request("GET", "/metrics"))
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(value)
            for found, given, value in _SAMPLE.findall(answer.body.decode())
            if found == f"lookalike_{name}" and all(one in given.split(",") for one in wanted)
        )

    async def healthy(self) -> bool:
        """Return whether it says that it lives and is ready."""
        answers = [await self.connections.ask(request("GET", f"/health/{one}")) for one in ("live", "ready")]
        return all(answer.status == 200 for answer in answers)

    def _status(self, field: str) -> str:
        status = Path(f"/proc/{self._server.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE)
        assert found
        return found[1]

    async def _watch(self) -> None:
        started = time.perf_counter()
        while True:
            self.rss.append((time.perf_counter() - started, self.memory()))
            await asyncio.sleep(_EVERY_S)
