"""Pictures of distances, as .png or .svg. They need the extra `plot`, and only when one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.errors import OptionError
from models.histograms import Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PLOT_SUFFIXES", "plot_distances", "plot_triplet_distances", "require_matplotlib"]

PLOT_SUFFIXES = (".png", ".svg")

# Okabe and Ito's blue and vermilion, which the colour-blind tell apart.
_POSITIVE, _NEGATIVE = "#0072B2", "#D55E00"


def require_matplotlib() -> None:
    """Raise OptionError where matplotlib is not installed; for asking before long work."""
    try:
        import matplotlib  # noqa: F401, PLC0415 - an optional extra, needed here only
    except ImportError as error:
        message = "Drawing a plot needs matplotlib: in a checkout, pip install '.[plot]'."
        raise OptionError(message, argument="plot") from error


def plot_triplet_distances(
    path: Path, d_ap: Histogram, d_an: Histogram, *, distance: str, margin: float | Literal["soft"]
) -> None:
    """Draw the distances of positives and negatives, and the margin.

    The margin is a width and no place: it is drawn from the mean d_ap upwards, so that a negative beyond it
    is easy for a positive at the mean. Bars are shares of their own series, whose sizes differ a lot.

    Args:
        path: a .png or .svg file to write.
        d_ap: of the positive pairs.
        d_an: of the negative pairs, on the same edges.
        distance: its name.
        margin: > 0, or "soft", which has no width.

    Raises:
        OptionError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    with _Canvas(path) as axes:
        _draw(axes, d_ap, f"d_ap: {d_ap.total:,} pairs (anchor, positive)", _POSITIVE)
        _draw(axes, d_an, f"d_an: {d_an.total:,} pairs (anchor, negative)", _NEGATIVE)
        if margin == "soft":
            label = f"mean d_ap {d_ap.mean:.4g}; the margin is soft"
        else:
            label = f"margin {margin:g} from the mean d_ap {d_ap.mean:.4g}"
            axes.axvspan(d_ap.mean, d_ap.mean + margin, color="0.5", alpha=0.25, linewidth=0)
            axes.axvline(d_ap.mean + margin, color="0.25", linestyle="--", linewidth=1)
        axes.axvline(d_ap.mean, color="0.25", linestyle="--", linewidth=1, label=label)
        axes.set(xlabel=f"{distance} distance", ylabel="share of the pairs")
        axes.set_title("Distances from anchors to positives and negatives")
        axes.legend()


def plot_distances(path: Path, histogram: Histogram, *, distance: str) -> None:
    """Draw how often distances occur, and their mean.

    Raises:
        OptionError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    with _Canvas(path) as axes:
        axes.stairs(histogram.counts, histogram.edges, fill=True, color=_POSITIVE, alpha=0.7)
        axes.axvline(
            histogram.mean, color="0.25", linestyle="--", linewidth=1, label=f"mean {histogram.mean:.4g}"
        )
        axes.set(xlabel=f"{distance} distance", ylabel="pairs", title=f"{histogram.total:,} distances")
        axes.legend()


class _Canvas:
    """A figure of its own, without pyplot's global state, that is written when the block ends well."""

    def __init__(self, path: Path) -> None:
        require_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - as above
        from matplotlib.figure import Figure  # noqa: PLC0415 - as above

        self._path = path
        self._figure = Figure(figsize=(8, 4.5), layout="constrained")
        FigureCanvasAgg(self._figure)

    def __enter__(self) -> Axes:
        return self._figure.subplots()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._figure.savefig(self._path, format=self._path.suffix.lower().lstrip("."), dpi=150)


def _draw(axes: Axes, histogram: Histogram, label: str, colour: str) -> None:
    shares = histogram.counts / max(1, histogram.total)
    axes.stairs(shares, histogram.edges, fill=True, color=colour, alpha=0.5, label=label)
    axes.stairs(shares, histogram.edges, color=colour)
