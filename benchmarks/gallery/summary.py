"""What the rounds of the searches come to: medians, and ours beside each of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.core.figures import as_bytes
from benchmarks.gallery.figures import Criterion, Part
from benchmarks.gallery.others import Bare, Chroma, Milvus
from benchmarks.gallery.ours import Lookalike
from benchmarks.gallery.plan import CLIENTS
from benchmarks.gallery.searches import LIMIT, TARGETS
from benchmarks.learning.records import Record

__all__ = ["Cell", "Summary", "part"]

_OF_BARE = 0.8
_TIMES = 2.0
_OF_LIMIT = 0.8
_TITLES = {**{one.key: one.title for one in TARGETS}, LIMIT: "FAISS in a loop, no server"}
_PROTOCOLS = {**{one.key: one.protocol for one in TARGETS}, LIMIT: "none"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A server under one number of clients, over its rounds.

    Attributes:
        per_s, p50_ms, p99_ms: medians.
        slowest, fastest: searches/s of the rounds.
        failed: answers that were none, in all rounds.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    slowest: float
    fastest: float
    failed: int


class Summary:
    """Reads the records of one size.

    Args:
        records: by key of the target, a record a round; one with a `problem` counts as none.
    """

    def __init__(self, records: Mapping[str, Sequence[Record]]) -> None:
        self._records = records

    def cell(self, key: str, clients: int) -> Cell | None:
        """Return what a server did; None where it did nothing."""
        loads = [one["loads"][str(clients)] for one in self.good(key)]
        if not loads:
            return None
        speeds = [one["per_s"] for one in loads]
        p50, p99 = (median(one[name] for one in loads) for name in ("p50_ms", "p99_ms"))
        failed = sum(one["failed"] for one in loads)
        return Cell(median(speeds), p50, p99, min(speeds), max(speeds), failed)

    def ratio(self, key: str, clients: int) -> float | None:
        """Return how many times as many searches a second ours answers as another."""
        ours, other = self.cell(Lookalike.key, clients), self.cell(key, clients)
        return ours.per_s / other.per_s if ours and other and other.per_s else None

    def batches(self) -> dict[int, float]:
        """Return our queries a second in batches, by clients."""
        good = self.good(Lookalike.key)
        if not good:
            return {}
        return {
            int(clients): median(one["batches"][clients]["per_s"] for one in good)
            for clients in good[0]["batches"]
        }

    def limit_per_s(self) -> float | None:
        """Return what the loop does in batches."""
        good = self.good(LIMIT)
        return median(one["batch_per_s"] for one in good) if good else None

    def of(self, key: str, name: str) -> float | None:
        """Return the median of another figure; None where there is none."""
        found = [one[name] for one in self.good(key) if name in one]
        return median(found) if found else None

    def generator(self, key: str, clients: int) -> float | None:
        """Return how much of one core the generator took."""
        found = [
            one["loads"][str(clients)].get("generator_cpu")
            for one in self.good(key)
            if "generator_cpu" in one["loads"][str(clients)]
        ]
        return median(found) if found else None

    def problem(self, key: str) -> str:
        """Return why a server has no figures."""
        for record in self._records.get(key, ()):
            if "problem" in record:
                reason: str = record["problem"]
                return reason
        return "not measured yet"

    def good(self, key: str) -> list[Record]:
        """Return the rounds that have figures."""
        return [one for one in self._records.get(key, ()) if "problem" not in one]


def part(size: int, summary: Summary) -> Part:
    """Return the table of one size, and what was aimed at."""
    columns = ["server", "asked by", "index", "recall"]
    columns += [f"searches/s, {clients} client{'s' if clients > 1 else ''}" for clients in CLIENTS]
    columns += [f"p50, p99 at {CLIENTS[1]}, ms", "memory", "filled in", f"generator at {CLIENTS[-1]}"]
    rows = [_row(summary, key, len(columns)) for key in _TITLES]
    curves = {
        _TITLES[key]: [
            (float(clients), cell.per_s) for clients in CLIENTS if (cell := summary.cell(key, clients))
        ]
        for key in _TITLES
    }
    told = f"{size:,} items of D = 128, K = 10, one query a request."
    return Part(f"Searches among {size:,}", told, _criteria(summary), columns, rows, curves)


def _row(summary: Summary, key: str, width: int) -> list[str]:
    good = summary.good(key)
    start = [_TITLES[key], _PROTOCOLS[key]]
    if not good:
        return [*start, summary.problem(key), *[""] * (width - 3)]
    cells = [cell for clients in CLIENTS if (cell := summary.cell(key, clients))]
    speeds = []
    for cell in cells:
        spread = f" ({cell.slowest:,.0f} to {cell.fastest:,.0f})" if cell.slowest < cell.fastest else ""
        failed = f", {cell.failed:,} failed" if cell.failed else ""
        speeds.append(f"{cell.per_s:,.0f}{spread}{failed}")
    recall = min(one["recall"] for one in good)
    filled, generator = summary.of(key, "filled_s"), summary.generator(key, CLIENTS[-1])
    return [
        *start,
        good[0]["about"],
        f"{recall:.4f}",
        *speeds,
        f"{cells[1].p50_ms:.2f}, {cells[1].p99_ms:.2f}",
        as_bytes(summary.of(key, "bytes")),
        "" if filled is None else f"{filled:,.0f} s",
        "" if generator is None else f"{generator:.0%} of a core",
    ]


def _criteria(summary: Summary) -> list[Criterion]:
    found = []
    for key, least in ((Bare.key, _OF_BARE), (Chroma.key, _TIMES), (Milvus.key, _TIMES)):
        ratios = [summary.ratio(key, clients) for clients in CLIENTS]
        said = ", ".join("no figure" if one is None else f"{one:.2f}" for one in ratios)
        met = all(one is not None and one >= least for one in ratios)
        clients = ", ".join(map(str, CLIENTS))
        found.append(Criterion(f"at least {least:g} times {_TITLES[key]} at {clients} clients", said, met))
    batches, limit = summary.batches(), summary.limit_per_s()
    if not batches or limit is None:
        return [*found, Criterion("batches of 64 beside FAISS in a loop", "no figure", met=False)]
    best = max(batches.values())
    said = ", ".join(f"{speed:,.0f}/s by {clients}" for clients, speed in batches.items())
    aim = f"batches of 64 over safetensors at least {_OF_LIMIT:g} of FAISS in a loop ({limit:,.0f} queries/s)"
    found.append(Criterion(aim, f"{best / limit:.2f} ({said})", best >= _OF_LIMIT * limit))
    return found
