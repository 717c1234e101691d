"""The report of an evaluation: one HTML file that needs no other file, no script and no network."""

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.evaluation import ClosedSet, Evaluation, conventions_of, document, figures_of, warnings_of
from models.evaluation.figures import Figure
from models.plots import draw_cmc, draw_pair_distances, draw_roc
from models.reports.examples import Pair, Row, extreme_pairs, pair_histograms, random_rows, wrong_rows
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
    return [figure for figure in known if figure not in rates] + rates[1:3]


def _plots(evaluation: Evaluation) -> dict[str, str]:
    """Return SVG elements; names that come from the data are escaped in them."""
    plots = {"cmc": draw_cmc(_cmc(evaluation))}
    curve, calibration = evaluation.roc, evaluation.calibration
    if curve is not None:
        curves = {"this encoder": (curve.far, curve.tar)}
        chance = None if evaluation.baseline is None else evaluation.baseline.roc
        if chance is not None:
            curves["random weights"] = (chance.far, chance.tar)
        own, other = pair_histograms(evaluation.subject)
        points = () if calibration is None else calibration.thresholds
        thresholds = {f"FAR {point.far:g}": point.threshold for point in points}
        plots["roc"] = draw_roc(curves, impostors=curve.impostor_pairs)
        plots["distances"] = draw_pair_distances(
            own, other, distance=evaluation.subject.metric, thresholds=thresholds
        )
    return plots


def _cmc(evaluation: Evaluation) -> dict[str, Any]:
    """Return (K,) the share of queries that are found by rank 1, 2, ... K, by direction."""
    curves = {}
    for each in evaluation.closed_sets:
        ranks = np.arange(1, min(_CMC_RANKS, each.mean.gallery) + 1)
        curves[each.name] = np.mean(
            [(result.rankings.first[:, None] <= ranks).mean(axis=0) for result in each.results], axis=0
        )
    return curves
