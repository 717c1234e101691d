"""Evaluation by plain loops and scikit-learn, from distances: nothing of the project's own metrics.

Distances are float64, smaller is closer; equal ones keep the gallery's order. A distance is accepted under a
threshold where it is smaller.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmarks.plain_loop import average_precision

__all__ = ["RANKS", "People", "fold_accuracy", "retrieval_figures", "verification_figures"]

RANKS = (1, 5, 10, 20)

Distances = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class People:
    """Whom the pictures show, and which camera took each; None where cameras are unknown."""

    identities: Sequence[str]
    cameras: Sequence[str] | None = None

    def is_junk(self, query: int, item: int) -> bool:
        """Say whether a picture is removed: the query itself, or its identity by its camera."""
        if self.cameras is None:
            return query == item
        return self.identities[query] == self.identities[item] and self.cameras[query] == self.cameras[item]


def retrieval_figures(distances: Distances, people: People) -> dict[str, float]:
    """Let every picture query all others, (N, N), and average over those that have something to find."""
    rankings, by_scores = [], []
    for query, row in enumerate(distances):
        order = [item for item in np.argsort(row, kind="stable") if not people.is_junk(query, int(item))]
        hits = [people.identities[item] == people.identities[query] for item in order]
        if any(hits):
            rankings.append(hits)
            by_scores.append(average_precision_score(hits, -row[order]))
    last = [(sum(hits), len(hits) - hits[::-1].index(True)) for hits in rankings]
    return {
        "queries": len(rankings),
        **{f"rank-{k}": float(np.mean([any(hits[:k]) for hits in rankings])) for k in RANKS},
        "mAP (hits)": float(np.mean([average_precision(hits) for hits in rankings])),
        "mAP (hits), scikit-learn": float(np.mean(by_scores)),
        "mAP (trapezoid)": float(np.mean([_trapezoid(hits) for hits in rankings])),
        "mINP": float(np.mean([positives / rank for positives, rank in last])),
    }


def verification_figures(distances: Distances, same: Flags, fars: Sequence[float]) -> dict[str, float]:
    """Return AUC, EER and TAR at some FAR, of pairs (P,)."""
    far, tar, _ = roc_curve(same, -distances, drop_intermediate=False)
    genuine, impostor = distances[same], np.sort(distances[~same])
    return {
        "genuine pairs": len(genuine),
        "impostor pairs": len(impostor),
        "AUC": float(roc_auc_score(same, -distances)),
        "EER": _equal_error(far, tar),
        **{f"TAR at FAR {share:g}": _tar_at(genuine, impostor, share) for share in fars},
    }


def fold_accuracy(distances: Distances, same: Flags, folds: npt.NDArray[np.integer]) -> dict[str, float]:
    """Return the mean accuracy over folds, each by the best threshold of the others, and its standard error.

    Every distance of the other folds is tried as a threshold, and infinity; of equally good ones the
    smallest is taken.

    Source: Huang et al., Labeled Faces in the Wild, 2007, section III.
    """
    accuracies = []
    for fold in np.unique(folds):
        known, judged = folds != fold, folds == fold
        best, threshold = -1.0, math.inf
        for candidate in [*np.sort(distances[known]), math.inf]:
            right = float(np.mean((distances[known] < candidate) == same[known]))
            if right > best:
                best, threshold = right, float(candidate)
        accuracies.append(float(np.mean((distances[judged] < threshold) == same[judged])))
    deviation = math.sqrt(sum((one - np.mean(accuracies)) ** 2 for one in accuracies) / (len(accuracies) - 1))
    return {
        "accuracy": float(np.mean(accuracies)),
        "accuracy, standard error": deviation / math.sqrt(len(accuracies)),
    }


def _trapezoid(hits: Sequence[bool]) -> float:
    """Return average precision as the official script of Market-1501 forms it."""
    found, total, before = 0, 0.0, 1.0
    for rank, hit in enumerate(hits, start=1):
        found += hit
        if hit:
            total += (before + found / rank) / 2
        before = found / rank
    return total / found


def _equal_error(far: Distances, tar: Distances) -> float:
    """Return FAR where it is 1 - TAR, on the straight line between the two points around it."""
    for left, right in zip(range(len(far)), range(1, len(far)), strict=False):
        before, after = far[left] + tar[left] - 1, far[right] + tar[right] - 1
        if before < 0 <= after:
            return float(far[left] + (far[right] - far[left]) * before / (before - after))
    return float(far[0])


def _tar_at(genuine: Distances, ascending: Distances, share: float) -> float:
    """Accept the floor(FAR n) smallest of n impostor distances, or fewer where they are tied."""
    threshold = ascending[math.floor(share * len(ascending) + 1e-9)]
    return float(np.mean(genuine < threshold))
