"""The plot: searches a second beside the peers, and filtered searches by the share that passes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.core.style import STYLE
from benchmarks.gallery.figures import Part

__all__ = ["draw"]

# Okabe and Ito's colours, told apart by everybody; ours is the dark one.
_COLOURS = ("#000000", "#d55e00", "#56b4e9", "#009e73", "#cc79a7", "#999999")
_Curves = Mapping[str, Sequence[tuple[float, float]]]


def draw(searches: Sequence[Part], filters: Part | None, path: Path) -> None:
    """Write an SVG: a panel for each size, two for the filters; the same figures give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    panels = len(searches) + (2 if filters else 0)
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(max(10, 3.4 * panels), 3.6), layout="constrained")
        axes = list(canvas.subplots(1, max(panels, 1), squeeze=False)[0])
        for own, part in zip(axes, searches, strict=False):
            _lines(own, part.curves, "clients", "searches/s")
            own.set_title(part.title, loc="left", fontweight="bold")
            own.set_xscale("log", base=2)
            own.set_xticks(sorted({at for line in part.curves.values() for at, _ in line}))
            own.xaxis.set_major_formatter("{x:g}")
        if filters:
            _filters(axes[-2], axes[-1], filters)
        canvas.savefig(path, format="svg", metadata={"Date": None})


def _filters(left: Axes, right: Axes, part: Part) -> None:
    times = {
        name: [(100 * at, y) for at, y in line] for name, line in part.curves.items() if name != "recall"
    }
    _lines(left, times, "items that pass, %", "p50, ms")
    left.set_title("Filtered searches", loc="left", fontweight="bold")
    recalls = {"recall": [(100 * at, y) for at, y in part.curves.get("recall", [])]}
    _lines(right, recalls, "items that pass, %", "recall")
    right.set_yscale("linear")
    right.set_ylim(0.98, 1.001)
    for axes in (left, right):
        axes.set_xscale("log")


def _lines(axes: Axes, curves: _Curves, x: str, y: str) -> None:
    for (name, points), colour in zip(curves.items(), _COLOURS, strict=False):
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=name)
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25, which="major")
    if curves:
        axes.legend(fontsize="small", frameon=False)
