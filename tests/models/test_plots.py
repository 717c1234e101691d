"""Plots are pictures, drawn without touching anything that other plots share."""

import subprocess
import sys
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from models.errors import OptionError
from models.histograms import Histogram
from models.plots import draw_cmc, plot_distances, plot_triplet_distances, require_matplotlib

EDGES = np.array([0.0, 0.5, 1.0])
D_AP = Histogram(EDGES, np.array([3, 1]), mean=0.25)
D_AN = Histogram(EDGES, np.array([0, 8]), mean=0.75)
NONE = Histogram(EDGES, np.array([0, 0]), mean=np.nan)


def text_of(path: Path) -> str:
    """Return the words of an .svg, which keeps them beside the outlines of their letters."""
    return path.read_text()


def is_varied(path: Path) -> bool:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 400
        return len(picture.convert("RGB").getcolors(2**24) or []) > 10


@pytest.mark.parametrize("margin", [0.2, "soft"])
def test_a_png_shows_the_triplets_distances(tmp_path: Path, margin: float) -> None:
    path = tmp_path / "plot.png"
    plot_triplet_distances(path, D_AP, D_AN, distance="cosine", margin=margin)
    assert is_varied(path)


@pytest.mark.parametrize(("margin", "words"), [(0.2, "margin 0.2 from the mean d_ap 0.25"), ("soft", "soft")])
def test_an_svg_names_what_it_shows(tmp_path: Path, margin: float, words: str) -> None:
    path = tmp_path / "PLOT.SVG"
    plot_triplet_distances(path, D_AP, D_AN, distance="cosine", margin=margin)
    text = text_of(path)
    assert ET.fromstring(text).tag.endswith("svg")
    for shown in (words, "cosine distance", "d_ap: 4 pairs", "d_an: 8 pairs", "share of the pairs"):
        assert shown in text


def test_the_bars_are_shares_and_the_band_is_the_margin(tmp_path: Path) -> None:
    with (
        mock.patch.object(Axes, "stairs", autospec=True, side_effect=Axes.stairs) as stairs,
        mock.patch.object(Axes, "axvspan", autospec=True, side_effect=Axes.axvspan) as band,
    ):
        plot_triplet_distances(tmp_path / "p.png", D_AP, D_AN, distance="cosine", margin=0.5)
    assert [call.args[1].tolist() for call in stairs.call_args_list[::2]] == [[0.75, 0.25], [0, 1]]
    assert band.call_args.args[1:] == (0.25, 0.75)


def test_there_may_be_no_positive_pair(tmp_path: Path) -> None:
    plot_triplet_distances(tmp_path / "p.png", NONE, D_AN, distance="cosine", margin=0.5)
    assert is_varied(tmp_path / "p.png")


def test_plain_distances_are_drawn(tmp_path: Path) -> None:
    plot_distances(tmp_path / "p.png", D_AP, distance="euclidean")
    plot_distances(tmp_path / "p.svg", D_AP, distance="euclidean")
    assert is_varied(tmp_path / "p.png")
    assert "4 distances" in text_of(tmp_path / "p.svg")


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    with (
        mock.patch.dict(sys.modules, {"matplotlib": None}),
        pytest.raises(OptionError, match=r"pip install '\.\[plot\]'"),
    ):
        require_matplotlib()


def test_importing_draws_nothing_in() -> None:
    code = "import models.plots, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pyplot_stays_out(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.models.test_plots import D_AP, plot_distances; "
        f"plot_distances(Path({str(tmp_path / 'p.png')!r}), D_AP, distance='cosine'); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize("name", ["北 -> 南", "_east -> west", "$a$ -> <b> & c", "1 -> 2"])
def test_every_name_is_shown_as_it_is(name: str) -> None:
    words = [element.text or "" for element in ET.fromstring(draw_cmc({name: np.array([0.5, 1.0])})).iter()]
    assert name in [text.lstrip("\N{ZERO WIDTH SPACE}") for text in words]
