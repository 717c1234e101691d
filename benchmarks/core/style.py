"""How all plots of the benchmarks look; the same figures give the same file."""

from typing import Any

__all__ = ["STYLE"]

STYLE: Any = {
    "svg.hashsalt": "lookalike",
    "svg.fonttype": "none",  # text stays text, which is smaller
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
