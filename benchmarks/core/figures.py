"""The figures of a run, ready to be shown."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.core.cases import Case
from benchmarks.core.results import Results

__all__ = ["NOISY", "Figure", "Figures", "as_bytes", "as_ratio", "as_seconds", "as_time", "table"]

NOISY = 1.5


@dataclass(frozen=True, slots=True)
class Figure:
    """What one peer took for one case.

    Attributes:
        seconds: the median.
        bytes: extra peak memory; None where the system does not tell.
        once: whether it was timed once: it is slow, or timing it again failed.
        loss: None for distances.
        noisy: whether the fastest call took less than 1 / NOISY of the median.
    """

    seconds: float
    bytes: int | None
    once: bool = False
    loss: float | None = None
    noisy: bool = False


class Figures:
    """Reads what each peer took, or why it took nothing."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def of(self, case: Case, peer: str) -> Figure | None:
        """Return the peer's figure, or None where there is none."""
        first = self._results.get("memory", case, peer)
        if first is None or "skipped" in first:
            return None
        times = self._results.get("times", case) or {}
        seconds: list[float] = times.get("seconds", {}).get(peer, [])
        # One repeat says no more than the first call does: then both count.
        used = seconds if len(seconds) > 1 else [first["seconds"], *seconds]
        middle = median(used)
        noisy = middle > NOISY * min(first["seconds"], *seconds, middle)
        return Figure(middle, first["bytes"], len(used) == 1, first["loss"], noisy)

    def why_not(self, case: Case, peer: str) -> str:
        """Return why there is no figure."""
        first = self._results.get("memory", case, peer)
        reason: str = first["skipped"] if first else "not measured"
        # Growth by N^2 is the least there is, so that it bounds the time from below, however it was put.
        return reason.replace("about", "over") if reason.endswith("extrapolated") else reason

    def problem(self, job: str, case: Case) -> str:
        """Return why a job of all peers came to nothing; empty where it did not."""
        record = self._results.get(job, case)
        return record.get("problem", "") if record else "not measured"

    def found(self, job: str, case: Case) -> dict[str, Any]:
        """Return what a check of exactness found; empty where it has not been made, or came to nothing."""
        record = self._results.get(job, case)
        return dict(record["found"]) if record else {}

    def floor_s(self, case: Case) -> float | None:
        """Return the least that arithmetic and memory of this machine allow."""
        floors = self._results.get("floors")
        if floors is None:
            return None
        return max(case.flops / float(floors["flops_per_s"]), case.bytes_moved / float(floors["bytes_per_s"]))


def as_seconds(seconds: float) -> str:
    """Return a time to three digits, in the unit that suits it."""
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{_three_digits(seconds / unit)} {name}"
    return f"{_three_digits(seconds / 1e-6)} µs"


def as_time(figure: Figure) -> str:
    """Return a figure's time, marked where it was timed once, or is noisy."""
    return f"{'≈ ' if figure.noisy else ''}{as_seconds(figure.seconds)}{'*' if figure.once else ''}"


def as_bytes(count: float | None) -> str:
    """Return a size in decimal units; what is below 1 MB is lost in what a process takes anyway."""
    if count is None:
        return "—"
    if count < 1e6:
        return "< 1 MB"
    return f"{_three_digits(count / 1e9)} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def as_ratio(ratio: float) -> str:
    """Return a ratio to two digits."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, its first column to the left and the others to the right."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
