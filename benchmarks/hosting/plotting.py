"""The plot: latencies while ten times too much comes, and memory over time."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.core.style import STYLE
from benchmarks.hosting.figures import Scenario
from benchmarks.hosting.overload import DEADLINE_MS

__all__ = ["draw"]

# Okabe and Ito's colours, told apart by everybody.
_COLOURS = {"200": "#000000", "429": "#56b4e9", "504": "#d55e00"}


def draw(scenarios: Sequence[Scenario], path: Path) -> None:
    """Write an SVG of what there is; the same figures give the same file."""
    curves = {name: points for one in scenarios for name, points in one.curves.items() if points}
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(9, 3), layout="constrained")
        left, right = canvas.subplots(1, 2)
        _latencies(left, {name: curves[name] for name in _COLOURS if name in curves})
        _memory(right, curves.get("rss", []))
        canvas.savefig(path, format="svg", metadata={"Date": None})


def _latencies(axes: Axes, curves: dict[str, list[tuple[float, float]]]) -> None:
    """Draw the median and the 99th percentile of each second."""
    axes.set_title("Ten times the load", loc="left", fontweight="bold")
    for status, points in curves.items():
        at, took = np.asarray(points).T
        seconds = np.unique(at.astype(int))
        for percent, dash in ((50, "-"), (99, ":")):
            values = [np.percentile(took[at.astype(int) == second], percent) for second in seconds]
            label = f"{status}, p{percent}"
            axes.plot(seconds, values, dash, color=_COLOURS[status], label=label)
    axes.axhline(DEADLINE_MS / 1000, color="#999999", linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("s")
    axes.set_ylabel("latency, s")
    axes.grid(alpha=0.25)
    if axes.lines[1:]:
        axes.legend(fontsize="small", frameon=False)


def _memory(axes: Axes, points: list[tuple[float, float]]) -> None:
    axes.set_title("Mixed load with swaps", loc="left", fontweight="bold")
    if points:
        seconds, sizes = np.asarray(points).T
        axes.plot(seconds / 60, sizes / 2**20, color="#000000")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("RSS, MiB")
    axes.grid(alpha=0.25)
