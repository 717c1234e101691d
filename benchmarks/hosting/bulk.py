"""A request of 2,000 pictures in flight: single ones wait for one batch of it at most."""

import asyncio
import base64
import time

import orjson

from benchmarks.hosting.checking import embeddings_of
from benchmarks.hosting.client import request
from benchmarks.hosting.figures import Criterion, Scenario, percentile_ms, summary
from benchmarks.hosting.loads import Load, Mix, open_loop
from benchmarks.hosting.site import Site

__all__ = ["run"]

_PICTURES = 2000
_FEWEST = 200
_BATCH_MS = 50
_RATE = 5.0
_ALONE_S, _MOST_S = 60.0, 60.0

_TOLD = (
    f"Single pictures, {_RATE:.0f} a second, without anything beside them and then beside requests of many "
    "pictures, one after the other."
)


async def run(site: Site, scale: float) -> Scenario:
    """Measure single requests alone, then beside bulk requests."""
    count = max(_FEWEST, int(min(1.0, 10 * scale) * _PICTURES))
    mix = Mix(site.good)
    seconds = max(4.0, scale * _ALONE_S)
    alone = await open_loop(site.connections, mix, site.oracle, rate=_RATE, until=lambda at: at >= seconds)
    batches = await _batches(site)
    beside, right, took = await _beside(site, mix, count, scale * _MOST_S)
    all_batches, short = (now - then for now, then in zip(await _batches(site), batches, strict=True))
    without, with_it = (percentile_ms(load.outcomes, 99) for load in (alone, beside))
    over = all_batches - short
    criteria = [
        Criterion(
            f"p99 of single requests at most that without the bulk plus one batch of {_BATCH_MS} ms",
            f"{with_it:.0f} ms beside {without:.0f} ms",
            with_it <= without + _BATCH_MS,
        ),
        Criterion(
            f"a batch takes at most {_BATCH_MS} ms",
            f"{over:,.0f} of {all_batches:,.0f} took more ({over / max(1, all_batches):.1%})",
            not over,
        ),
        Criterion(
            "every picture of the bulk is answered right",
            f"{right:,} of {len(took) * count:,}",
            right == len(took) * count,
        ),
    ]
    times = ", ".join(f"{one:.1f}" for one in took)
    rows = [
        ("single requests alone", summary(alone)),
        ("single requests beside the bulk", summary(beside)),
        (f"requests of {count:,} pictures", f"{len(took)}, in {times} s"),
    ]
    return Scenario(f"A request of {count:,} pictures in flight", _TOLD, criteria, rows, {})


async def _beside(site: Site, mix: Mix, count: int, seconds: float) -> tuple[Load, int, list[float]]:
    """Send single requests while bulk ones are under way; return these, right pictures, and seconds."""
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    singles = loop.create_task(
        open_loop(site.connections, mix, site.oracle, rate=_RATE, until=lambda at: not under_way)
    )
    right, took, under_way = 0, list[float](), True
    chosen = [site.good[number % len(site.good)] for number in range(count)]
    body = orjson.dumps(
        {"input": [base64.b64encode(one.data).decode() for one in chosen], "encoding_format": "base64"}
    )
    content = request("POST", "/v1/embeddings", body, content_type="application/json")
    while not took or time.perf_counter() - started < seconds:
        sent = time.perf_counter()
        answer = await site.connections.ask(content)
        took.append(time.perf_counter() - sent)
        found = embeddings_of(answer) if answer.status == 200 else []
        right += sum(site.oracle.close(one, embedding) for one, embedding in zip(chosen, found, strict=False))
    under_way = False
    return await singles, right, took


async def _batches(site: Site) -> tuple[float, float]:
    """Return how many batches there were, and how many of them took no longer than the target."""
    return (
        await site.metrics("encode_seconds_count"),
        await site.metrics("encode_seconds_bucket", le=str(_BATCH_MS / 1000)),
    )
