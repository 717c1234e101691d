"""Two kinds of load: clients that wait for their answers, and requests that come whatever is answered."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.hosting.checking import Oracle, Outcome
from benchmarks.hosting.client import Connections
from benchmarks.hosting.pictures import Picture

__all__ = ["Load", "Mix", "closed_loop", "open_loop"]

_TICK_S = 0.002


class Mix:
    """What is sent: good pictures at random and, at a fixed share, corrupt ones.

    Args:
        good: pictures.
        corrupt: files that are none; one in `every` requests is one of them.
        every: 0 for never.
        headers: of each request.
        seed: of the choice.
    """

    def __init__(
        self,
        good: list[Picture],
        corrupt: list[Picture] | None = None,
        *,
        every: int = 0,
        headers: dict[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        made = headers or {}
        self._good = [(one, one.request(**made)) for one in good]
        self._corrupt = [(one, one.request(**made)) for one in corrupt or []]
        self._every = every
        self._random = random.Random(seed)
        self._turns = self._endless()

    def next(self) -> tuple[Picture, bytes]:
        """Return a picture and its request."""
        return next(self._turns)

    def _endless(self) -> Iterator[tuple[Picture, bytes]]:
        count = 0
        while True:
            count += 1
            bad = self._every and count % self._every == 0
            yield self._random.choice(self._corrupt if bad else self._good)


@dataclass(slots=True)
class Load:
    """What a load came to.

    Attributes:
        seconds: that it lasted, the last answers included.
        outcomes: of its requests.
        unsent: requests for which there was no connection.
        client_cpu: seconds of processor time that this process took meanwhile.
    """

    seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    unsent: int = 0
    client_cpu: float = 0.0


async def closed_loop(
    connections: Connections, mix: Mix, oracle: Oracle, *, clients: int, until: Callable[[float], bool]
) -> Load:
    """Let clients send one request after the other, each when it has its answer.

    Args:
        connections: to the server.
        mix: what is sent.
        oracle: checks the answers.
        clients: how many.
        until: given the seconds since the beginning, says whether no more is sent.
    """
    load, started, cpu = Load(), time.perf_counter(), time.process_time()

    async def live() -> None:
        while not until(at := time.perf_counter() - started):
            await _ask(connections, mix, oracle, load, started, at)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(live())
    return _ended(load, started, cpu)


async def open_loop(
    connections: Connections, mix: Mix, oracle: Oracle, *, rate: float, until: Callable[[float], bool]
) -> Load:
    """Send requests at a steady rate, whatever becomes of them; wait for what is under way at the end.

    A request is due at its time and its latency counts from then, so that a server that is slow to take it,
    or a client that is slow to send it, is not hidden.

    Args:
        connections: to the server; what is due while all are busy is not sent, and counted.
        mix: what is sent.
        oracle: checks the answers.
        rate: requests a second.
        until: given the seconds since the beginning, says whether no more is sent.
    """
    load, started, cpu = Load(), time.perf_counter(), time.process_time()
    due, interval = 0.0, 1 / rate
    async with asyncio.TaskGroup() as group:
        while not until(now := time.perf_counter() - started):
            while due <= now:
                if connections.all_busy:
                    load.unsent += 1
                else:
                    group.create_task(_ask(connections, mix, oracle, load, started, due))
                    await asyncio.sleep(0)
                due += interval
            await asyncio.sleep(min(_TICK_S, interval))
    return _ended(load, started, cpu)


async def _ask(
    connections: Connections, mix: Mix, oracle: Oracle, load: Load, started: float, due: float
) -> None:
    picture, content = mix.next()
    answer = await connections.ask(content)
    took = time.perf_counter() - started - due
    right = oracle.right(picture, answer)
    load.outcomes.append(Outcome(due, took, answer.status, picture.status == 200, right))


def _ended(load: Load, started: float, cpu: float) -> Load:
    load.seconds, load.client_cpu = time.perf_counter() - started, time.process_time() - cpu
    return load
