"""Figures of a load, and whether they are what was aimed at."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.hosting.checking import Outcome
from benchmarks.hosting.loads import Load

__all__ = ["Criterion", "Scenario", "counts", "percentile_ms", "slope_mib_a_minute", "summary"]


@dataclass(frozen=True, slots=True)
class Criterion:
    """Something that was aimed at.

    Attributes:
        aim: in words.
        found: in words.
        met: whether it was reached.
    """

    aim: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a scenario came to.

    Attributes:
        title: of its part of the section.
        told: what was done, in sentences.
        criteria: what was aimed at.
        rows: (what, figure) for the table.
        curves: points by name, for the plot.
    """

    title: str
    told: str
    criteria: list[Criterion]
    rows: list[tuple[str, str]]
    curves: dict[str, list[tuple[float, float]]]


def percentile_ms(outcomes: Iterable[Outcome], percent: float, *, status: int = 200) -> float:
    """Return a percentile of the latencies of one status, in ms; NaN where there are none."""
    took = [one.took for one in outcomes if one.status == status]
    return float(np.percentile(took, percent)) * 1000 if took else float("nan")


def counts(outcomes: Iterable[Outcome]) -> str:
    """Return how many answers of each status there are, in words; 0 is a connection that was lost."""
    found = Counter(one.status for one in outcomes)
    return ", ".join(f"{count:,} x {status or 'lost'}" for status, count in sorted(found.items()))


def slope_mib_a_minute(rss: list[tuple[float, int]]) -> float:
    """Return how fast memory grows, by least squares; NaN for fewer than two samples."""
    if len(rss) < 2:
        return float("nan")
    seconds, sizes = np.asarray(rss, dtype=float).T
    return float(np.polyfit(seconds / 60, sizes / 2**20, 1)[0])


def summary(load: Load) -> str:
    """Return the answers, latencies and the client's share of a processor in one line."""
    p50, p99 = (percentile_ms(load.outcomes, percent) for percent in (50, 99))
    unsent = f", {load.unsent:,} not sent for want of a connection" if load.unsent else ""
    return (
        f"{counts(load.outcomes)}{unsent} in {load.seconds:.0f} s; 200: p50 {p50:.0f} ms, p99 {p99:.0f} ms; "
        f"client {load.client_cpu / load.seconds:.0%} of a core"
    )
