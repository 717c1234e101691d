"""What a scenario came to, as it is kept and shown."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.hosting.figures import Criterion
from benchmarks.learning.records import Record

__all__ = ["Criterion", "Part", "cell", "part_of", "resident_bytes"]


@dataclass(frozen=True, slots=True)
class Part:
    """A scenario's part of the document.

    Attributes:
        title: of it.
        told: what was done, in sentences.
        criteria: what was aimed at.
        columns, rows: of its table.
        curves: points by name, for the plot.
    """

    title: str
    told: str
    criteria: Sequence[Criterion]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def as_record(self) -> Record:
        """Return it for a file of results."""
        return asdict(self)


def part_of(record: Record) -> Part:
    """Return a part as it was kept."""
    return Part(
        record["title"],
        record["told"],
        [Criterion(**one) for one in record["criteria"]],
        record["columns"],
        record["rows"],
        {name: [(at, value) for at, value in points] for name, points in record["curves"].items()},
    )


def cell(value: Any) -> str:
    """Return a figure with as many digits as say something."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory (VmRSS), mapped files included."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert found
    return 1024 * int(found[1])
