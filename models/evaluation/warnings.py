"""What a reader must know before they believe a figure."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from models.datasets import HELD_OUT, ImageSet
from models.evaluation.result import Evaluation

__all__ = ["warnings_of", "was_trained_on"]

_FEW_IDENTITIES = 50
_FEW_PAIRS = 1_000
_SMALL_GAP = 0.2
_CLOSE_TOGETHER = 0.9
_SATURATED = 0.99
_LITTLE_GAIN = 0.05


def was_trained_on(training: Mapping[str, Any] | None, images: ImageSet) -> bool:
    """Say whether an encoder has seen pictures of a set, as far as names tell.

    Args:
        training: what its manifest says of how it was made; None says nothing.
        images: the set.
    """
    if not training or training.get("dataset") != images.name or images.split == HELD_OUT:
        return False
    seen = (training.get("config") or {}).get("train_split")
    # But for a table, which may call a split so, "all" is every picture there is.
    return seen == images.split or (images.form != "csv" and "all" in (seen, images.split))


def warnings_of(evaluation: Evaluation) -> list[str]:
    """Return sentences about what makes figures weak: few pairs, a collapse, ranks that cannot rise."""
    return [*_of_counts(evaluation), *_of_spread(evaluation), *_of_ranks(evaluation)]


def _of_counts(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.trained_on:
        yield (
            "By the names of dataset and split, the encoder was trained on these pictures: figures say "
            "nothing about others. Measure on a split that it has not seen."
        )
    if evaluation.as_crops:
        yield (
            "The encoder has a face detector, and it was not used: each picture was taken as one aligned "
            "crop. Of photographs these figures say nothing."
        )
    labels = evaluation.subject.labels[evaluation.subject.images.gallery()]
    if len(np.unique(labels[labels != -1])) == 1:
        yield (
            "The gallery shows one identity only, so that whatever is found is right: ranks say nothing. "
            "Measure on more."
        )
    if evaluation.identities < _FEW_IDENTITIES:
        yield (
            f"There are {evaluation.identities:,} identities, and intervals over so few are rough. "
            f"Measure on {_FEW_IDENTITIES} or more."
        )
    images = evaluation.subject.images
    if images.without_camera:
        yield (
            f"{images.without_camera:,} of {len(images):,} pictures have no camera. So none counts: a match "
            "from the query's own camera is as good as another. Fill them all in, or leave them all empty."
        )
    curve = evaluation.roc
    if curve is not None and min(curve.genuine_pairs, curve.impostor_pairs) < _FEW_PAIRS:
        yield (
            f"Verification is over {curve.genuine_pairs:,} genuine and {curve.impostor_pairs:,} impostor "
            "pairs, so that one of them moves a rate visibly: look at the intervals."
        )
    for each in evaluation.closed_sets:
        if each.mean.skipped:
            yield (
                f"{each.name}: {each.mean.skipped:,} queries have nothing to find in the gallery and are "
                f"left out; {each.mean.queries:,} count."
            )


def _of_spread(evaluation: Evaluation) -> Iterator[str]:
    same, different = evaluation.cosine_same, evaluation.cosine_different
    if same is None or different is None:
        return
    if same - different < _SMALL_GAP:
        yield (
            f"The mean cosine of one identity is {same:.3f}, of two {different:.3f}: they are hardly apart, "
            "however good the ranks look, and thresholds will not hold. Either the encoder was trained on "
            "other kinds of pictures, or it has collapsed: then train again with another mining, a lower "
            "learning rate or a longer warm-up."
        )
    elif different > _CLOSE_TOGETHER:
        yield (
            f"Two identities have a mean cosine of {different:.3f}: all embeddings lie close together, and a "
            "small change of the pictures can move a distance across a threshold."
        )


def _of_ranks(evaluation: Evaluation) -> Iterator[str]:
    for each in evaluation.closed_sets:
        rank_1 = each.mean.rank[1]
        if rank_1 >= _SATURATED:
            yield (
                f"{each.name}: rank-1 is {rank_1:.3f}, so it tells good encoders no more from better ones. "
                "Look at TAR@FAR, and compare with random weights (lookalike evaluate --baseline)."
            )
    if evaluation.baseline is None:
        return
    chance = evaluation.baseline.directions
    for name, result in evaluation.directions.items():
        if result.rank[1] - chance[name].rank[1] < _LITTLE_GAIN:
            yield (
                f"{name}: random weights already reach rank-1 {chance[name].rank[1]:.3f}, and this encoder "
                f"{result.rank[1]:.3f}: the set is easy, or nothing was learned."
            )
