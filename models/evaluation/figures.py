"""The figures of an evaluation in words, for a table on a terminal and for a report."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from models.evaluation.characters import FEW_SHOT
from models.evaluation.result import Evaluation
from models.metrics import Interval, Retrieval

__all__ = ["Figure", "figures_of"]


class Figure(NamedTuple):
    """One line of a table.

    Attributes:
        group: what kind of figure it is.
        name: which one.
        value: the number, as text.
        interval: where it may be, "" where that is not known.
        counts: what it is over.
        chance: the same figure of random weights, "" where that was not measured.
    """

    group: str
    name: str
    value: str
    interval: str
    counts: str
    chance: str = ""


def figures_of(evaluation: Evaluation) -> list[Figure]:
    """Return the figures in the order in which they are read."""
    figures = list(_all(evaluation))
    if evaluation.baseline is None:
        return figures
    chance = {(figure.group, figure.name): figure.value for figure in _all(evaluation.baseline)}
    return [figure._replace(chance=chance.get((figure.group, figure.name), "")) for figure in figures]


def _all(evaluation: Evaluation) -> Iterator[Figure]:
    yield from _few_shot(evaluation)
    yield from _pairs(evaluation)
    yield from _closed_sets(evaluation)
    yield from _metric_learning(evaluation)
    yield from _verification(evaluation)
    yield from _open_set(evaluation)
    yield from _spread(evaluation)


def _closed_sets(evaluation: Evaluation) -> Iterator[Figure]:
    for each in evaluation.closed_sets:
        mean, group = each.mean, f"retrieval, {each.name}"
        counts = (
            f"{mean.queries:,} queries of {mean.identities:,} identities, {mean.gallery:,} in the gallery"
        )
        yield Figure(group, "rank-1", _share(mean.rank[1]), _ends(each.rank_1), counts)
        yield Figure(
            group, "mAP", _share(mean.mean_average_precision), _ends(each.mean_average_precision), ""
        )
        for k in (5, 10):
            yield Figure(group, f"rank-{k}", _share(mean.rank[k]), "", "")
        yield Figure(group, "mINP", _share(mean.mean_inverse_negative_penalty), "", "")
    for name, each_way in evaluation.reranking.items():
        yield from _both_ways(name, each_way.plain, each_way.reranked)


def _both_ways(name: str, plain: Retrieval, reranked: Retrieval) -> Iterator[Figure]:
    group = f"re-ranking, {name}"
    counts = f"{plain.queries:,} queries, {plain.gallery:,} in the gallery"
    for label, result in (("plain", plain), ("re-ranked", reranked)):
        yield Figure(group, f"rank-1 {label}", _share(result.rank[1]), "", counts)
        yield Figure(group, f"mAP {label}", _share(result.mean_average_precision), "", "")


def _metric_learning(evaluation: Evaluation) -> Iterator[Figure]:
    found = evaluation.metric_learning
    if found is None:
        return
    group, counts = "metric learning", f"{found.queries:,} queries of {found.identities:,} identities"
    for k in (1, 2, 4, 8):
        yield Figure(group, f"R@{k}", _share(found.recall[k]), "", counts if k == 1 else "")
    yield Figure(group, "MAP@R", _share(found.map_at_r), "", "")


def _verification(evaluation: Evaluation) -> Iterator[Figure]:
    curve, calibration = evaluation.roc, evaluation.calibration
    if curve is None:
        return
    pairs = f"{curve.genuine_pairs:,} genuine, {curve.impostor_pairs:,} impostor pairs"
    group = "verification"
    yield Figure(group, "AUC", _share(curve.auc), "", pairs)
    yield Figure(group, "EER", _share(curve.eer), "", "")
    for point in () if calibration is None else calibration.thresholds:
        interval = "" if point.tar_interval is None else _ends(point.tar_interval)
        count = round(point.measured_far * curve.impostor_pairs)
        accepted = f"{count:,} impostor {'pair' if count == 1 else 'pairs'} accepted"
        yield Figure(group, f"TAR@FAR {point.far:g}", _share(point.tar), interval, accepted)


def _pairs(evaluation: Evaluation) -> Iterator[Figure]:
    test = evaluation.pairs
    if test is None:
        return
    group, folds = "given pairs", len(test.folds.accuracies)
    spread = f"± {test.folds.standard_error:.4f} (standard error)"
    counts = f"{test.folds.pairs:,} pairs in {folds} folds{' that were drawn' if test.folds_drawn else ''}"
    yield Figure(group, "accuracy", _share(test.folds.accuracy), spread, counts)
    yield Figure(group, "accuracy at its best", _share(test.best_accuracy), "", "one threshold for all pairs")
    yield Figure(group, "AUC", _share(test.curve.auc), "", "")
    yield Figure(group, "EER", _share(test.curve.eer), "", "")
    for point in () if test.operating is None else test.operating.thresholds:
        yield Figure(group, f"TAR@FAR {point.far:g}", _share(point.tar), "", "")


def _open_set(evaluation: Evaluation) -> Iterator[Figure]:
    found = evaluation.open_set
    if found is None:
        return
    counts = f"{found.mated:,} mated, {found.non_mated:,} non-mated probes, {found.identities:,} enrolled"
    for point in found.points:
        yield Figure(
            "open set", f"DIR@FPIR {point.fpir:g}", _share(point.dir[1]), _ends(point.interval), counts
        )


def _few_shot(evaluation: Evaluation) -> Iterator[Figure]:
    for name, result in evaluation.few_shot.items():
        counts = f"{result.queries:,} queries in {result.trials:,} trials"
        yield Figure("few-shot", FEW_SHOT[name], _share(result.accuracy), _ends(result.interval), counts)


def _spread(evaluation: Evaluation) -> Iterator[Figure]:
    for name, value in (
        ("mean cosine, one identity", evaluation.cosine_same),
        ("mean cosine, two", evaluation.cosine_different),
    ):
        if value is not None:
            yield Figure("spread", name, f"{value:.3f}", "", "")


def _share(share: float) -> str:
    """Return a share with three decimals, more where it is close to 1 but not 1."""
    if 0.9995 <= share < 1:
        return f"{math.floor(share * 1e5) / 1e5:.5f}"
    return f"{share:.3f}"


def _ends(interval: Interval) -> str:
    return f"{_share(interval.low)} to {_share(interval.high)}"
