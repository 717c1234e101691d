"""Ten times what the server can take: who is let in is answered in time, the others are told to wait."""

import asyncio
import math
from collections.abc import Sequence
from statistics import median

from benchmarks.hosting.checking import Outcome
from benchmarks.hosting.figures import Criterion, Scenario, counts, percentile_ms, summary
from benchmarks.hosting.loads import Load, Mix, closed_loop, open_loop
from benchmarks.hosting.site import MOST_CONNECTIONS, Site

__all__ = ["DEADLINE_MS", "recovered_after", "run"]

DEADLINE_MS = 2000
_TIMES = 10
_CLIENTS = 64
_CAPACITY_S, _QUIET_S, _OVERLOAD_S, _AFTER_S = 20.0, 20.0, 120.0, 20.0
_QUIET_SHARE = 0.1
_MOST_GROWTH = 256 * 2**20

_TOLD = (
    f"What the server can take is measured with {_CLIENTS} clients that wait for their answers. Then "
    f"requests come at {_TIMES} times that rate, whatever is answered, each with a deadline of "
    f"{DEADLINE_MS} ms, over at most {MOST_CONNECTIONS:,} connections. Latencies count from when one is "
    "due, so that the time in which it waits to be sent or read is in them. Before and after, a tenth of the "
    "capacity."
)


async def run(site: Site, scale: float) -> Scenario:
    """Measure the capacity, the quiet latency, the overload, and the time after it."""
    capacity = await closed_loop(
        site.connections,
        Mix(site.good),
        site.oracle,
        clients=_CLIENTS,
        until=lambda at: at >= max(2.0, scale * _CAPACITY_S),
    )
    rate = len(capacity.outcomes) / capacity.seconds
    quiet = await _steady(site, _QUIET_SHARE * rate, max(3.0, scale * _QUIET_S))
    memory, cpu = site.memory(), site.cpu()
    before = len(site.rss)
    overloading = asyncio.create_task(
        _steady(site, _TIMES * rate, scale * _OVERLOAD_S, x_deadline_ms=str(DEADLINE_MS))
    )
    await asyncio.sleep(scale * _OVERLOAD_S)  # what comes after does not wait for what is still under way
    cpu = site.cpu() - cpu
    after = await _steady(site, _QUIET_SHARE * rate, max(3.0, scale * _AFTER_S))
    overload = await overloading
    peak = max(size for _, size in site.rss[before:])
    rows = [
        ("capacity", f"{rate:.1f} pictures a second; {summary(capacity)}"),
        ("quiet before", summary(quiet)),
        ("overload", summary(overload)),
        ("429 in overload", f"p99 {percentile_ms(overload.outcomes, 99, status=429):.0f} ms"),
        (
            "right answers in overload",
            f"{sum(one.status == 200 for one in overload.outcomes) / overload.seconds:.1f} a second",
        ),
        ("server in overload", f"{cpu / (scale * _OVERLOAD_S):.0%} of a core"),
        ("after", summary(after)),
        ("memory", f"{memory / 2**20:.0f} MiB before, {peak / 2**20:.0f} at its peak"),
    ]
    criteria = _criteria(quiet, overload, after, peak - memory)
    curves = {
        f"{status}": [(one.at, one.took) for one in overload.outcomes if one.status == status]
        for status in (200, 429, 504)
    }
    return Scenario("Ten times the load", _TOLD, criteria, rows, curves)


async def _steady(site: Site, rate: float, seconds: float, **headers: str) -> Load:
    mix = Mix(site.good, headers=headers)
    return await open_loop(site.connections, mix, site.oracle, rate=rate, until=lambda at: at >= seconds)


def _criteria(quiet: Load, overload: Load, after: Load, growth: int) -> list[Criterion]:
    p99 = percentile_ms(overload.outcomes, 99)
    refused = [one for one in overload.outcomes if one.status != 200]
    others = [one for one in refused if one.status != 429]
    wrong = sum(not one.right for one in overload.outcomes)
    normal = percentile_ms(quiet.outcomes, 99) / 1000
    recovered = recovered_after(after.outcomes, normal)
    return [
        Criterion(
            "memory bounded (at most 256 MiB more)", f"{growth / 2**20:.0f} MiB more", growth <= _MOST_GROWTH
        ),
        Criterion(
            f"p99 of what was accepted below the deadline of {DEADLINE_MS} ms",
            f"{p99:.0f} ms",
            p99 < DEADLINE_MS,
        ),
        Criterion(
            "the rest get 429",
            f"{counts(refused)}, {overload.unsent:,} not sent",
            not others and bool(refused),
        ),
        Criterion("no answer is wrong", f"{wrong:,} were", not wrong),
        Criterion(
            "latency back to normal within a second",
            f"after {recovered:.2f} s (p99 before: {normal * 1000:.0f} ms)",
            recovered <= 1.0,
        ),
    ]


def recovered_after(outcomes: Sequence[Outcome], normal: float) -> float:
    """Return from when on answers took no longer than normal, in seconds; infinity where none did.

    Single slow answers occur in a quiet server too, so the median of three in a row is looked at.
    """
    outcomes = sorted(outcomes, key=lambda one: one.at)
    for three in zip(outcomes, outcomes[1:], outcomes[2:], strict=False):
        if three[0].took <= normal and median(one.took for one in three) <= normal:
            return three[0].at
    return math.inf
