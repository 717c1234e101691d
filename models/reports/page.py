"""The report of an evaluation: one HTML file that needs no other file, no script and no network."""

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.calibration import Calibration
from models.evaluation import ClosedSet, Evaluation, conventions_of, document, figures_of, warnings_of
from models.evaluation.figures import Figure
from models.metrics import Roc
from models.plots import draw_cmc, draw_pair_distances, draw_roc
from models.reports.examples import (
    Pair,
    Row,
    extreme_given_pairs,
    extreme_pairs,
    given_histograms,
    pair_histograms,
    random_rows,
    wrong_rows,
)
from models.reports.thumbnails import thumbnail
from models.runtime import Encoder

__all__ = ["report_html"]

_TEMPLATE = "report.html.jinja"
_CMC_RANKS = 50
_WRONG, _PAIRS, _RANDOM = 6, 8, 6


def report_html(encoder: Encoder, evaluation: Evaluation, *, pictures: bool = True) -> str:
    """Return the report as a page.

    Args:
        encoder: that was evaluated.
        evaluation: what was found.
        pictures: whether thumbnails of the set, with the names of files and identities, are in it.

    Raises:
        OptionError: matplotlib is not installed.
        DatasetError: a picture that cannot be read any more.
    """
    figures = figures_of(evaluation)
    facts = document(encoder, evaluation)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(_TEMPLATE).render(
        encoder=facts["encoder"],
        manifest=encoder.manifest,
        data=facts["data"],
        versions=facts["versions"],
        headline=_headline(figures),
        groups=[(name, list(group)) for name, group in groupby(figures, key=lambda figure: figure.group)],
        has_chance=evaluation.baseline is not None,
        evaluation=evaluation,
        warnings=warnings_of(evaluation),
        not_measured=evaluation.not_measured,
        conventions=conventions_of(evaluation),
        calibration=evaluation.calibration,
        plots=_plots(evaluation),
        album=_Album(evaluation) if pictures else None,
    )
    return page.lstrip()  # the macros above the page leave their line ends


@dataclass(frozen=True)
class _Album:
    """The pictures that a report shows; the template asks for them."""

    evaluation: Evaluation

    @cached_property
    def wrong(self) -> list[tuple[ClosedSet, list[Row], int]]:
        """For each closed set: some queries with a wrong first match, and how many there are."""
        subject = self.evaluation.subject
        return [(each, *wrong_rows(subject, each, _WRONG)) for each in self.evaluation.closed_sets]

    @cached_property
    def random(self) -> list[tuple[ClosedSet, list[Row]]]:
        """For each closed set, a few random queries."""
        subject, seed = self.evaluation.subject, self.evaluation.seed
        return [(each, random_rows(subject, each, _RANDOM, seed)) for each in self.evaluation.closed_sets]

    @cached_property
    def pairs(self) -> tuple[list[Pair], list[Pair]]:
        """The nearest impostor pairs and the farthest genuine ones; none where there are no pairs."""
        return extreme_pairs(self.evaluation.subject, _PAIRS) if self.evaluation.roc else ([], [])

    @cached_property
    def given_pairs(self) -> tuple[list[Pair], list[Pair]]:
        """As `pairs`, of those that a file gives; none where there is no such file."""
        test = self.evaluation.pairs
        return ([], []) if test is None else extreme_given_pairs(test, _PAIRS)

    def uri(self, sample: int) -> str:
        """Return a sample's thumbnail."""
        return thumbnail(self.evaluation.subject.images.samples[sample].path)

    def identity(self, sample: int) -> str:
        """Return whom a sample shows."""
        return self.evaluation.subject.images.samples[sample].identity

    def label(self, sample: int) -> str:
        """Return a sample's file name and, where it is known, its camera."""
        shown = self.evaluation.subject.images.samples[sample]
        return f"{shown.path.name}, camera {shown.camera}" if shown.camera else shown.path.name


def _headline(figures: list[Figure]) -> list[Figure]:
    """Return the figures that an interval stands beside, without the many of low FARs."""
    known = [figure for figure in figures if figure.interval]
    rates = [figure for figure in known if figure.group == "verification"]
    identified = [figure for figure in known if figure.group == "open set"]
    return [figure for figure in known if figure not in rates + identified] + rates[1:3] + identified[:1]


def _plots(evaluation: Evaluation) -> dict[str, str]:
    """Return SVG elements; names that come from the data are escaped in them."""
    plots = {"cmc": draw_cmc(_cmc(evaluation))}
    metric, chance = evaluation.subject.metric, evaluation.baseline
    if (test := evaluation.pairs) is not None:
        random = None if chance is None or chance.pairs is None else chance.pairs.curve
        plots["given_roc"] = _roc(test.curve, random, "the given pairs")
        plots["given_distances"] = draw_pair_distances(
            *given_histograms(test),
            distance=metric,
            thresholds=_thresholds(test.operating),
            of="the given pairs",
        )
    if evaluation.roc is not None:
        plots["roc"] = _roc(evaluation.roc, None if chance is None else chance.roc, "all pairs")
        plots["distances"] = draw_pair_distances(
            *pair_histograms(evaluation.subject),
            distance=metric,
            thresholds=_thresholds(evaluation.calibration),
        )
    return plots


def _roc(curve: Roc, chance: Roc | None, of: str) -> str:
    curves = {"this encoder": (curve.far, curve.tar)}
    if chance is not None:
        curves["random weights"] = (chance.far, chance.tar)
    return draw_roc(curves, impostors=curve.impostor_pairs, of=of)


def _thresholds(calibration: Calibration | None) -> dict[str, float]:
    points = () if calibration is None else calibration.thresholds
    return {f"FAR {point.far:g}": point.threshold for point in points}


def _cmc(evaluation: Evaluation) -> dict[str, Any]:
    """Return (K,) the share of queries that are found by rank 1, 2, ... K, by direction."""
    curves = {}
    for each in evaluation.closed_sets:
        ranks = np.arange(1, min(_CMC_RANKS, each.mean.gallery) + 1)
        curves[each.name] = np.mean(
            [(result.rankings.first[:, None] <= ranks).mean(axis=0) for result in each.results], axis=0
        )
    return curves
