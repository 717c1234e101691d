"""One corrupt picture in eight: the good ones are answered right, and as many a second."""

import time

from benchmarks.hosting.figures import Criterion, Scenario, summary
from benchmarks.hosting.loads import Load, Mix, closed_loop
from benchmarks.hosting.site import Site

__all__ = ["run"]

_CLIENTS = 64
_EVERY = 8
_TURNS = 10
_SHORT = 0.1  # a spell of a second or two would be all beginning and end
_CORRUPT_S, _CLEAN_S = 300.0, 150.0
_MOST_LOST = 0.05

_TOLD = (
    "64 clients, each sending the next picture as soon as it has its answer; one request in eight brings a "
    "file that cannot be decoded, of six kinds. Clean and corrupt spells take turns."
)


async def run(site: Site, scale: float) -> Scenario:
    """Let clean and corrupt spells take turns."""
    clean, corrupt = Load(), Load()
    turns = _TURNS if scale >= _SHORT else 2
    for turn in range(turns):
        await _spell(site, Mix(site.good, seed=turn), scale * _CLEAN_S / turns, clean)
        mix = Mix(site.good, site.corrupt, every=_EVERY, seed=turn)
        await _spell(site, mix, scale * _CORRUPT_S / turns, corrupt)
    before, during = (_good(load) / load.seconds for load in (clean, corrupt))
    lost = 1 - during / before
    wrong = {
        good: sum(not one.right for one in corrupt.outcomes if one.good == good) for good in (True, False)
    }
    bad = sum(not one.good for one in corrupt.outcomes)
    criteria = [
        Criterion(
            "every good picture answered right",
            f"{wrong[True]:,} of {len(corrupt.outcomes) - bad:,} were not",
            not wrong[True],
        ),
        Criterion("every bad one its own 4xx", f"{wrong[False]:,} of {bad:,} had not", not wrong[False]),
        Criterion(
            "good pictures a second within 5 % of the clean run",
            f"{during:.1f} beside {before:.1f}, {-lost:+.1%}",
            lost <= _MOST_LOST,
        ),
    ]
    answers = len(corrupt.outcomes) / corrupt.seconds
    rows = [
        ("clean", summary(clean)),
        ("corrupt", summary(corrupt)),
        ("answers of any kind a second, corrupt", f"{answers:.1f}"),
    ]
    return Scenario("One corrupt picture in eight", _TOLD, criteria, rows, {})


async def _spell(site: Site, mix: Mix, seconds: float, into: Load) -> None:
    started = time.perf_counter()
    load = await closed_loop(
        site.connections, mix, site.oracle, clients=_CLIENTS, until=lambda at: at >= seconds
    )
    into.outcomes += load.outcomes
    into.seconds += time.perf_counter() - started
    into.client_cpu += load.client_cpu


def _good(load: Load) -> int:
    return sum(one.good and one.status == 200 for one in load.outcomes)
