"""Go through the cases: what has been measured is not measured again, what cannot be is said to be so."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.core.cases import Case
from benchmarks.core.children import Children, FailedError, TimedOutError
from benchmarks.core.exactness import measure_accuracy, measure_mined
from benchmarks.core.measuring import measure_floors, measure_memory, measure_times
from benchmarks.core.peers import OURS, Peer, peers_of
from benchmarks.core.results import Results

__all__ = ["SLOWEST_S", "SLOW_S", "Limits", "Runner", "rounds_of"]

log = logging.getLogger(__name__)

# What takes longer than SLOWEST_S in its first call is not repeated; longer than SLOW_S, once.
SLOWEST_S = 10.0
SLOW_S = 3.0

_BUDGET_S = 1.5
_MOST_ROUNDS = 15
_LEAST_ROUNDS = 3
_LONGEST_REASON = 80
# As torch says it of the processor and of a GPU, and Python of itself.
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "MemoryError")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may take; ours is bounded in time only, and more generously.

    Attributes:
        peer_bytes: a peer that needs more is not run.
        peer_timeout_s: for one call of a peer.
        our_timeout_s: for one call of ours.
    """

    peer_bytes: float
    peer_timeout_s: float = 45.0
    our_timeout_s: float = 180.0

    def timeout_s(self, name: str) -> float:
        """Return how long one call may take."""
        return self.our_timeout_s if name == OURS else self.peer_timeout_s


class Runner:
    """Measures cases into results, showing how far it is: a bar on a terminal, log lines elsewhere."""

    def __init__(self, results: Results, children: Children, limits: Limits, device: str) -> None:
        self._results = results
        self._children = children
        self._limits = limits
        self._device = device
        self._smaller: dict[tuple[Case, str], Case] = {}

    def run(self, cases: Sequence[Case]) -> None:
        """Measure what is missing."""
        if self._results.get("floors") is None:
            floors = self._children.run(measure_floors, self._device, timeout_s=self._limits.our_timeout_s)
            self._results.add("floors", **floors)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=len(cases))
            for number, case in enumerate(cases, start=1):
                bar.update(task, description=case.key)
                if not console.is_terminal:
                    log.info("%d of %d: %s", number, len(cases), case.key)
                self._measure(case)
                bar.advance(task)

    def time_again(self, cases: Sequence[Case]) -> None:
        """Take the times of these cases once more; the rest of what is known of them stays."""
        for number, case in enumerate(cases, start=1):
            log.info("%d of %d again: %s", number, len(cases), case.key)
            records = {name: self._results.get("memory", case, name) for name in peers_of(case)}
            known = {name: record for name, record in records.items() if record and "skipped" not in record}
            self._measure_times(case, {name: record["seconds"] for name, record in known.items()})

    def _measure(self, case: Case) -> None:
        first: dict[str, float] = {}
        for name, peer in peers_of(case).items():
            record = self._results.get("memory", case, name) or self._measure_memory(case, peer)
            if "skipped" not in record:
                first[name] = record["seconds"]
                self._smaller[_line(case), name] = case
        if self._results.get("times", case) is None:
            self._measure_times(case, first)
        if case.group == "distances" and not case.backward:
            self._check("accuracy", measure_accuracy, case)
        if case.group == "batch_hard":
            self._check("mined", measure_mined, case)

    def _measure_memory(self, case: Case, peer: Peer) -> dict[str, Any]:
        """Compute the case once with a peer, or keep why not."""
        timeout_s = self._limits.timeout_s(peer.name)
        reason = self._hopeless(case, peer)
        if reason:
            return self._results.add("memory", case, peer.name, skipped=reason)
        try:
            # The warm-up and the inputs take their time too.
            measured = self._children.run(
                measure_memory, case, peer.name, self._device, timeout_s=timeout_s + 10
            )
        except (TimedOutError, FailedError) as error:
            reason = _reason(error, timeout_s)
            log.warning("%s, %s: %s", case.key, peer.name, reason)
            return self._results.add("memory", case, peer.name, skipped=reason)
        return self._results.add("memory", case, peer.name, **measured)

    def _hopeless(self, case: Case, peer: Peer) -> str:
        """Return why a peer need not be tried, or nothing: its memory, or its time at a smaller size."""
        if peer.name == OURS:
            return ""
        needed = peer.needs(case)
        if needed > self._limits.peer_bytes:
            return f"needs about {needed / 1e9:.0f} GB"
        smaller = self._smaller.get((_line(case), peer.name))
        record = smaller and self._results.get("memory", smaller, peer.name)
        if not smaller or not record:
            return ""
        # Every form here takes at least four times as long for twice the rows; the cubic ones, eight times.
        expected = record["seconds"] * (case.n / smaller.n) ** 2
        return f"over {expected:.0f} s, extrapolated" if expected > self._limits.peer_timeout_s else ""

    def _measure_times(self, case: Case, first: dict[str, float]) -> None:
        rounds = {name: rounds_of(seconds) for name, seconds in first.items() if rounds_of(seconds)}
        seconds: dict[str, Any] = {}
        problem = ""
        if rounds:
            bound = sum((rounds[name] + 2) * first[name] for name in rounds) * 3 + 60
            try:
                seconds = self._children.run(measure_times, case, rounds, self._device, timeout_s=bound)
            except (TimedOutError, FailedError) as error:
                problem = _reason(error, bound)
                log.warning("%s was timed only once: %s", case.key, problem)
        self._results.add("times", case, seconds=seconds, problem=problem)

    def _check(self, job: str, measure: Any, case: Case) -> None:
        if self._results.get(job, case) is not None:
            return
        found: dict[str, Any] = {}
        problem, timeout_s = "", self._limits.our_timeout_s
        try:
            found = self._children.run(measure, case, self._device, timeout_s=timeout_s)
        except (TimedOutError, FailedError) as error:
            problem = _reason(error, timeout_s)
            log.warning("%s, %s: %s", case.key, job, problem)
        self._results.add(job, case, found=found, problem=problem)


def rounds_of(first_s: float) -> int:
    """Return how often a call is repeated that took so long the first time."""
    if first_s > SLOW_S:
        return 0 if first_s > SLOWEST_S else 1
    return min(_MOST_ROUNDS, max(_LEAST_ROUNDS, int(_BUDGET_S / max(first_s, 1e-6))))


def _line(case: Case) -> Case:
    """Return what cases of all sizes have in common."""
    return replace(case, n=0)


def _reason(error: TimedOutError | FailedError, timeout_s: float) -> str:
    """Return what went wrong in a few words, fit for the cell of a table."""
    if isinstance(error, TimedOutError):
        return f"over {timeout_s:.0f} s"
    problem = str(error)
    if any(sign in problem for sign in _OUT_OF_MEMORY):
        return "out of memory"
    return f"failed: {problem[:_LONGEST_REASON]}".replace("|", "/")
