"""Mixed load with swaps of the encoder: memory does not grow, and no answer is lost or wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import orjson

from benchmarks.hosting.client import request
from benchmarks.hosting.figures import Criterion, Scenario, slope_mib_a_minute, summary
from benchmarks.hosting.loads import Load, Mix, closed_loop
from benchmarks.hosting.site import Site

__all__ = ["KEY", "run"]

KEY = "stress"
_SOAK_S = 1200.0
_CLIENTS = 8
_EVERY = 16
_SWAP_EVERY_S = 15.0
_LAST = 0.75  # of the time, in which memory must not grow
_MOST_SLOPE = 1.0
_COLLECTION = "/v1/collections/soak"

_TOLD = (
    "Eight clients with pictures, one in sixteen corrupt; beside them one that enrols (the same ids again "
    "and again) and searches by picture, one that asks for distances, one that leaves before its answer, and "
    f"an operator who replaces the encoder by the same bundle every {_SWAP_EVERY_S:.0f} s."
)


@dataclass(slots=True)
class _Others:
    """What the others than the plain clients came to: how many answers of each kind, and the unexpected."""

    done: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def note(self, what: str, right: bool, about: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1
        if not right:
            self.wrong.append(f"{what}: {about}")


async def run(site: Site, scale: float) -> Scenario:
    """Let all of them go on for the time."""
    seconds = max(20.0, scale * _SOAK_S)
    others, started = _Others(), time.perf_counter()
    begin = len(site.rss)

    def over() -> bool:
        return time.perf_counter() - started >= seconds

    made = await site.connections.ask(request("PUT", _COLLECTION, b"{}", content_type="application/json"))
    assert made.status in (200, 201), made.body
    async with asyncio.TaskGroup() as group:
        plain = group.create_task(_plain(site, over))
        for one in (_enrol_and_search, _distances, _leave, _swap):
            group.create_task(one(site, others, over))
    load = plain.result()
    since = [(at - site.rss[begin][0], size) for at, size in site.rss[begin:]]
    last = [(at, size) for at, size in since if at >= (1 - _LAST) * seconds]
    slope = slope_mib_a_minute(last)
    wrong = sum(not one.right for one in load.outcomes)
    criteria = [
        Criterion(
            f"RSS slope over the last {_LAST * seconds / 60:.3g} minutes below 1 MiB a minute",
            f"{slope:+.2f} MiB a minute",
            slope < _MOST_SLOPE,
        ),
        Criterion(
            "no answer is lost or wrong", f"{wrong + len(others.wrong):,} were", not wrong + len(others.wrong)
        ),
    ]
    rows = [
        ("plain clients", summary(load)),
        ("others", ", ".join(f"{count:,} x {what}" for what, count in sorted(others.done.items()))),
        ("memory", f"{since[0][1] / 2**20:.0f} MiB at first, {since[-1][1] / 2**20:.0f} in the end"),
        *[("unexpected", one) for one in others.wrong[:5]],
    ]
    curves = {"rss": [(at, float(size)) for at, size in since]}
    return Scenario(f"Mixed load with swaps for {seconds / 60:.3g} minutes", _TOLD, criteria, rows, curves)


async def _plain(site: Site, over: Callable[[], bool]) -> Load:
    mix = Mix(site.good, site.corrupt, every=_EVERY)
    return await closed_loop(site.connections, mix, site.oracle, clients=_CLIENTS, until=lambda at: over())


async def _turns(over: Callable[[], bool], pause_s: float) -> AsyncIterator[int]:
    turn = 0
    while not over():
        yield turn
        turn += 1
        await asyncio.sleep(pause_s)


async def _enrol_and_search(site: Site, others: _Others, over: Callable[[], bool]) -> None:
    async for turn in _turns(over, 0.2):
        picture = site.good[turn % len(site.good)]
        name = picture.name.replace(" ", "-")
        path = f"{_COLLECTION}/items?id={name}&identity={name}"
        answer = await site.connections.ask(
            request("POST", path, picture.data, content_type=picture.media_type)
        )
        others.note("enrolled", answer.status == 200, repr(answer.body[:200]))
        path = f"{_COLLECTION}/search?k=1"
        answer = await site.connections.ask(
            request("POST", path, picture.data, content_type=picture.media_type)
        )
        found = orjson.loads(answer.body)["results"][0]["matches"] if answer.status == 200 else []
        others.note("searched", bool(found) and found[0]["id"] == name, repr(answer.body[:200]))


async def _distances(site: Site, others: _Others, over: Callable[[], bool]) -> None:
    body = orjson.dumps({"x": [[0, 0], [3, 4]], "y": [[0, 0]]})
    content = request("POST", "/v1/distances", body, content_type="application/json")
    async for _ in _turns(over, 0.1):
        answer = await site.connections.ask(content)
        right = answer.status == 200 and orjson.loads(answer.body)["distances"] == [[0.0], [5.0]]
        others.note("distances", right, repr(answer.body[:200]))


async def _leave(site: Site, others: _Others, over: Callable[[], bool]) -> None:
    mix = Mix(site.good)
    async for _ in _turns(over, 0.5):
        connection = await site.connections.connect()
        connection.send(mix.next()[1])
        await asyncio.sleep(0.005)
        connection.abort()
        others.note("left", True, "")


async def _swap(site: Site, others: _Others, over: Callable[[], bool]) -> None:
    body = orjson.dumps({"bundle": "vehicle"})
    headers = {"content_type": "application/json", "authorization": f"Bearer {KEY}"}
    content = request("PUT", "/v1/encoders/vehicle", body, **headers)
    swapped = 0.0
    async for _ in _turns(over, 0.5):
        if time.perf_counter() - swapped >= _SWAP_EVERY_S:
            swapped = time.perf_counter()
            answer = await site.connections.ask(content)
            others.note("swapped", answer.status == 200, repr(answer.body[:200]))
