"""Pictures of distances, as .png or .svg. They need the extra `plot`, and only when one is drawn.

`plot_...` writes a file; `draw_...` returns an SVG to stand inside a page, whose colour of text it takes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from models.errors import OptionError
from models.histograms import Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "PLOT_SUFFIXES",
    "draw_cmc",
    "draw_pair_distances",
    "draw_roc",
    "plot_distances",
    "plot_triplet_distances",
    "require_matplotlib",
]

PLOT_SUFFIXES = (".png", ".svg")

# Okabe and Ito's blue and vermilion, which the colour-blind tell apart.
_POSITIVE, _NEGATIVE = "#0072B2", "#D55E00"
_FURTHER = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

_PAGE_COLOUR = "#010203"  # stands for the page's own until the SVG is written
_CURVE_POINTS = 400

Curve = npt.NDArray[np.float64]


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


def draw_roc(curves: Mapping[str, tuple[Curve, Curve]], *, impostors: int, of: str = "all pairs") -> str:
    """Return an SVG of ROC curves over a logarithmic FAR, from half of one impostor pair on.

    Args:
        curves: by their names (T,) FAR and (T,) TAR, both ascending from 0 to 1.
        impostors: how many impostor pairs there are.
        of: which pairs, another word for each such SVG of a page.

    Raises:
        OptionError: matplotlib is not installed.
    """
    with _Inline(f"ROC of {of}: true acceptance rate over false acceptance rate") as inline:
        axes = inline.axes
        grid = np.geomspace(0.5 / impostors, 1.0, _CURVE_POINTS)
        for (name, (far, tar)), colour in zip(curves.items(), _FURTHER, strict=False):
            shown = tar[np.searchsorted(far, grid, "right") - 1]
            axes.step(grid, shown, where="post", color=colour, label=_plain(name))
        axes.axvline(1 / impostors, color="0.5", linestyle=":", linewidth=1, label="one impostor pair")
        axes.set(xscale="log", xlim=(grid[0], 1), ylim=(0, 1.02))
        axes.set(xlabel="false acceptance rate", ylabel="true acceptance rate")
        axes.legend(loc="best")
    return inline.text


def draw_cmc(curves: Mapping[str, Curve]) -> str:
    """Return an SVG of cumulative match characteristics.

    Args:
        curves: by their names (K,) the share of queries with a positive among the first 1, 2, ... K.

    Raises:
        OptionError: matplotlib is not installed.
    """
    with _Inline("CMC: share of queries found over rank") as inline:
        axes = inline.axes
        for (name, shares), colour in zip(curves.items(), _FURTHER, strict=False):
            ranks = np.arange(1, len(shares) + 1)
            axes.plot(ranks, shares, color=colour, marker=".", markersize=4, label=_plain(name))
        least = min(float(shares.min()) for shares in curves.values())
        axes.set(xlabel="rank", ylabel="share of the queries", ylim=(max(0.0, least - 0.1), 1.02))
        axes.legend(loc="best")
    return inline.text


def draw_pair_distances(
    genuine: Histogram,
    impostor: Histogram,
    *,
    distance: str,
    thresholds: Mapping[str, float],
    of: str = "all pairs",
) -> str:
    """Return an SVG of how often distances occur between pictures of one identity, and of two.

    Args:
        genuine: of pairs of one identity.
        impostor: of pairs of two, on the same edges.
        distance: its name.
        thresholds: to draw, by what they are called.
        of: which pairs, another word for each such SVG of a page.

    Raises:
        OptionError: matplotlib is not installed.
    """
    with _Inline(f"Distances of {of}, genuine and impostor") as inline:
        axes = inline.axes
        _draw(axes, genuine, f"{genuine.total:,} genuine pairs", _POSITIVE)
        _draw(axes, impostor, f"{impostor.total:,} impostor pairs", _NEGATIVE)
        styles = ("-", "--", "-.", ":")
        for number, (name, threshold) in enumerate(thresholds.items()):
            style = styles[number % len(styles)]
            axes.axvline(threshold, color=_PAGE_COLOUR, linestyle=style, linewidth=1, label=_plain(name))
        axes.set(xlabel=f"{distance} distance", ylabel="share of the pairs")
        axes.legend()
    return inline.text


class _Inline:
    """A figure of its own that becomes an SVG element for a page.

    Its words stay words, its names of parts are its own among several on a page, and what is in
    `_PAGE_COLOUR` takes the page's colour, so that it can be read on light and on dark.

    Attributes:
        axes: to draw on.
        text: the element, once the block has ended well.
    """

    def __init__(self, title: str) -> None:
        require_matplotlib()
        from matplotlib.figure import Figure  # noqa: PLC0415 - as above

        self._title = title
        self._figure = Figure(figsize=(5.6, 3.6), layout="constrained")
        self.axes: Axes = self._figure.subplots()
        self.text = ""

    def __enter__(self) -> _Inline:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._take_page_colour()
            self.text = self._element()

    def _take_page_colour(self) -> None:
        axes = self.axes
        axes.patch.set_alpha(0)
        axes.tick_params(which="both", colors=_PAGE_COLOUR)
        for part in (*axes.spines.values(), axes.xaxis.label, axes.yaxis.label):
            part.set(color=_PAGE_COLOUR)
        axes.grid(alpha=0.3, linewidth=0.5)
        if (legend := axes.get_legend()) is not None:
            legend.get_frame().set_alpha(0)
            for text in legend.get_texts():
                text.set_color(_PAGE_COLOUR)

    def _element(self) -> str:
        import matplotlib  # noqa: PLC0415 - as above

        file = BytesIO()
        # A salt makes the names of parts the same each time.
        with (
            matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lookalike"}),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's fonts are used
            self._figure.savefig(file, format="svg", facecolor="none", metadata={"Date": None})
        svg = file.getvalue().decode()
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
        svg = svg.replace(_PAGE_COLOUR, "currentColor")
        prefix = re.sub(r"\W+", "-", self._title.lower())
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}-", svg)
        return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(self._title)}" ', 1)


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


def _plain(name: str) -> str:
    """Return a label that shows a name as it is.

    Between two dollars matplotlib would read a formula, and a name that begins with an underscore it would
    leave out: a space of no width stands before that.
    """
    shown = name.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{shown}" if shown.startswith("_") else shown


def _draw(axes: Axes, histogram: Histogram, label: str, colour: str) -> None:
    shares = histogram.counts / max(1, histogram.total)
    axes.stairs(shares, histogram.edges, fill=True, color=colour, alpha=0.5, label=label)
    axes.stairs(shares, histogram.edges, color=colour)
