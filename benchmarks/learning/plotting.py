"""The plot: how the losses fall, and what the networks come to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.core.style import STYLE
from benchmarks.learning.arms import ARMS, OURS, PML, TORCH, UNTRAINED, Arm, Mining
from benchmarks.learning.summary import Summary

__all__ = ["draw"]

# Okabe and Ito's colours, told apart by everybody; ours is the dark one.
_COLOURS = {OURS: "#000000", PML: "#d55e00", TORCH: "#56b4e9", UNTRAINED: "#999999"}
_IDENTITY = "#009e73"
_DASHES = {OURS: "-", PML: "--", TORCH: ":"}
_SMOOTHED = 20


def draw(summary: Summary, path: Path) -> None:
    """Write an SVG: losses by step for each mining, and mAP; the same results give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(10, 3.2), layout="constrained")
        hard, every, precision = canvas.subplots(1, 3)
        _losses(hard, summary, "hard")
        _losses(every, summary, "all")
        _precision(precision, summary)
        canvas.savefig(path, format="svg", metadata={"Date": None})


def _losses(axes: Axes, summary: Summary, mining: Mining) -> None:
    axes.set_title(f"Batch-{mining}", loc="left", fontweight="bold")
    for arm in ARMS:
        curves = [summary.trained[arm, seed]["losses"] for seed in summary.seeds(arm)]
        if arm.by == UNTRAINED or arm.mining != mining or not curves:
            continue
        smooth = _smooth(np.mean(curves, axis=0))
        steps = np.arange(len(smooth)) + 1 + summary.plan.steps - len(smooth)
        axes.plot(steps, smooth, _DASHES[arm.by], color=_colour(arm), label=arm.title)
    axes.set_xlabel(f"step (mean of the {_SMOOTHED} before)")
    axes.set_ylabel("triplet loss")
    axes.grid(alpha=0.25)
    if axes.lines:
        axes.legend(fontsize="small", frameon=False)


def _precision(axes: Axes, summary: Summary) -> None:
    axes.set_title("mAP", loc="left", fontweight="bold")
    shown = [(arm, mean) for arm in ARMS if (mean := summary.mean(arm, "map"))]
    for place, (arm, mean) in enumerate(reversed(shown)):
        axes.errorbar(mean.value, place, xerr=mean.error, fmt="o", color=_colour(arm), capsize=3)
    axes.set_yticks(range(len(shown)), [_label(arm) for arm, _ in reversed(shown)])
    axes.set_xlabel("mean and standard error")
    axes.grid(alpha=0.25, axis="x")


def _label(arm: Arm) -> str:
    if arm.by == UNTRAINED:
        return arm.title
    return f"{arm.by}, {arm.mining}{', + ID' if arm.identity else ''}"


def _colour(arm: Arm) -> str:
    return _IDENTITY if arm.identity else _COLOURS[arm.by]


def _smooth(losses: Sequence[float] | Any) -> Any:
    width = min(_SMOOTHED, len(losses))
    return np.convolve(losses, np.full(width, 1 / width), mode="valid")
