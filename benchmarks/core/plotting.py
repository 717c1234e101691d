"""The plot: time and extra memory against the batch size, for ours and each peer."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.core.cases import Case
from benchmarks.core.figures import Figures
from benchmarks.core.peers import OURS, peers_of
from benchmarks.core.style import STYLE

__all__ = ["draw"]

# Okabe and Ito's colours, told apart by everybody; ours is the dark one.
_COLOURS = ("#000000", "#d55e00", "#56b4e9", "#009e73", "#cc79a7")
_MARKERS = "os^Dv"
_LEAST_BYTES = 1e6


def draw(figures: Figures, cases: Sequence[Case], path: Path) -> None:
    """Write an SVG with a row of two panels for each line of sizes; the same figures give the same file."""
    lines = _lines(cases)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(9, 3 * len(lines)), layout="constrained")
        panels = canvas.subplots(len(lines), 2, squeeze=False)
        for (title, members), (left, right) in zip(lines.items(), panels, strict=True):
            _panel(left, figures, members, memory=False)
            _panel(right, figures, members, memory=True)
            left.set_title(title, loc="left", fontweight="bold")
            left.legend(fontsize="small", frameon=False)
        canvas.savefig(path, format="svg", metadata={"Date": None})


def _lines(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return cases that vary in N alone, at the smaller D: batch-all at each K, batch-hard at one."""
    names = {"batch_all": "Batch-all", "batch_hard": "Batch-hard"}
    smallest = min(case.d for case in cases if case.is_loss)
    lines: dict[str, list[Case]] = {}
    for case in cases:
        if case.group in names and case.d == smallest and (case.group, case.k) != ("batch_hard", 32):
            lines.setdefault(f"{names[case.group]}, K = {case.k}, D = {case.d}", []).append(case)
    return lines


def _panel(axes: Axes, figures: Figures, cases: Sequence[Case], *, memory: bool) -> None:
    for name, colour, marker in zip(peers_of(cases[0]), _COLOURS, _MARKERS, strict=False):
        found = [(case.n, figure) for case in cases if (figure := figures.of(case, name))]
        values = [max(one.bytes or 0, _LEAST_BYTES) / 1e6 if memory else one.seconds for _, one in found]
        width = 2.2 if name == OURS else 1.2
        sizes = [n for n, _ in found]
        axes.plot(sizes, values, color=colour, marker=marker, markersize=4, linewidth=width, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    # Only powers of two have a tick: another, as 1,280, would print over its neighbour.
    sizes = sorted({case.n for case in cases if case.n.bit_count() == 1})
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.set_xlabel("N")
    axes.set_ylabel("extra memory, MB (1: at most 1)" if memory else "forward + backward, s")
    axes.grid(alpha=0.25, which="major")
