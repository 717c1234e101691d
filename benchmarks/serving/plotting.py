"""The plot: images a second of every server beside the loop."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.core.style import STYLE
from benchmarks.serving.encoders import Served
from benchmarks.serving.plan import CLIENTS
from benchmarks.serving.servers import SERVERS
from benchmarks.serving.summary import Summary

__all__ = ["draw"]

# Okabe and Ito's colours, told apart by everybody.
_COLOURS = dict(zip(CLIENTS, ("#56b4e9", "#d55e00", "#000000"), strict=True))


def draw(summaries: Mapping[Served, Summary], path: Path) -> None:
    """Write an SVG with a panel for each encoder; the same figures give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(10, 4.5), layout="constrained")
        panels = canvas.subplots(1, len(summaries), sharey=True, squeeze=False)[0]
        for axes, (served, summary) in zip(panels, summaries.items(), strict=True):
            _panel(axes, summary)
            axes.set_title(served.title, loc="left", fontweight="bold")
        canvas.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Axes, summary: Summary) -> None:
    """Draw a group of bars for each server, the first at the top."""
    height = 0.8 / len(CLIENTS)
    for number, clients in enumerate(CLIENTS):
        cells = [summary.cell(server, clients) for server in SERVERS]
        values = [cell.images_per_s if cell else 0.0 for cell in cells]
        places = [place + (number - 1) * height for place in range(len(SERVERS))]
        label = f"{clients} client{'s' if clients > 1 else ''}"
        axes.barh(places, values, height, color=_COLOURS[clients], label=label)
    limit = summary.limit()
    if limit:
        axes.axvline(limit.images_per_s, color="#009e73", linestyle="--", label="the loop")
    axes.set_yticks(range(len(SERVERS)), [server.title for server in SERVERS])
    axes.set_ylim(len(SERVERS) - 0.5, -0.5)
    axes.set_xlabel("images/s")
    axes.grid(alpha=0.25, axis="x")
    axes.legend(fontsize="small", frameon=False, loc="lower right")
