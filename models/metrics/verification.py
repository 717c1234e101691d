"""Verification: are two pictures of one identity? Accepted means d < t."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import NonFiniteError, ShapeError
from models.metrics.pairs import PairDistances
from models.metrics.strips import Distances

__all__ = ["Folds", "Roc", "lfw_accuracy", "roc"]


@dataclass(frozen=True, eq=False)
class Roc:
    """The receiver operating characteristic: false and true acceptance rates as the threshold rises.

    Attributes:
        threshold: (T,) float64, ascending; the last is infinite, and accepts everything.
        far: (T,), the share of impostor pairs with d < threshold.
        tar: (T,), that of genuine pairs.
        auc: the area below straight lines between these points: the probability that a genuine pair is closer
            than an impostor pair, a tie counting one half.
        eer: where FAR = 1 - TAR on these lines.
        genuine_pairs, impostor_pairs: how many there are.
    """

    threshold: npt.NDArray[np.float64]
    far: npt.NDArray[np.float64]
    tar: npt.NDArray[np.float64]
    auc: float
    eer: float
    genuine_pairs: int
    impostor_pairs: int


@dataclass(frozen=True)
class Folds:
    """Accuracy by cross-validation.

    Attributes:
        accuracy: the mean over the folds.
        standard_error: of that mean: the sample deviation of the folds' accuracies / sqrt(folds).
        accuracies, thresholds: those of each fold, in the order of their numbers.
        pairs: how many there are in all.
    """

    accuracy: float
    standard_error: float
    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]
    pairs: int


def roc(pairs: PairDistances) -> Roc:
    """Return the ROC, with a point before and after each distinct genuine distance: between these TAR stays.

    Source:
        Fawcett, An introduction to ROC analysis, 2006, algorithms 1 and 3.
    """
    values, first, counts = np.unique(pairs.genuine, return_index=True, return_counts=True)
    closer, level = pairs.closer[first], pairs.level[first]
    after = np.nextafter(values, np.inf, dtype=values.dtype)
    accepted = np.stack([closer, closer + level], axis=1).ravel() / pairs.impostors
    genuine = np.stack([first, first + counts], axis=1).ravel() / len(pairs.genuine)
    far, tar = np.append(accepted, 1.0), np.append(genuine, 1.0)
    threshold = np.append(np.stack([values, after], axis=1).ravel().astype(np.float64), np.inf)
    least = min(pairs.genuine[0], pairs.impostor[0])
    far, tar, threshold = (
        np.insert(series, 0, start) for series, start in ((far, 0), (tar, 0), (threshold, least))
    )
    # In whole numbers, twice the pairs of pairs in which the impostor is closer, a tie counting one.
    closer_twice = int((counts * (2 * closer + level)).sum())
    return Roc(
        threshold=threshold,
        far=far,
        tar=tar,
        auc=1.0 - closer_twice / (2 * len(pairs.genuine) * pairs.impostors),
        eer=_equal_error(far, tar),
        genuine_pairs=len(pairs.genuine),
        impostor_pairs=pairs.impostors,
    )


def lfw_accuracy(distances: Distances, same: npt.NDArray[np.bool_], folds: npt.NDArray[np.integer]) -> Folds:
    """Return the accuracy of view 2 of LFW: each fold judged by the threshold that is best on all others.

    The thresholds tried are all distances of the other folds, and infinity; of equally good ones the smallest
    is taken. A pair is called the same where d < t.

    Args:
        distances: (N,).
        same: (N,), whether the pair is of one identity.
        folds: (N,), which fold it is in.

    Raises:
        ShapeError: arrays that do not fit each other, or fewer than two folds.
        NonFiniteError: NaN or infinity in the distances.

    Source:
        Huang et al., Labeled Faces in the Wild, 2007, section III.
    """
    numbers = np.unique(folds)
    if distances.ndim != 1 or not distances.shape == same.shape == folds.shape or len(numbers) < 2:
        raise ShapeError(
            "Cross-validation needs distances, same and folds of one length, and two folds or more; got "
            f"{distances.shape}, {same.shape}, {folds.shape} and {len(numbers)} folds.",
            argument="folds",
        )
    if not np.isfinite(distances).all():
        row = int(np.argmin(np.isfinite(distances)))
        raise NonFiniteError(f"The distance of pair {row} is NaN or infinite.", argument="distances", row=row)
    same = same.astype(bool)
    thresholds = [_best_threshold(distances[folds != fold], same[folds != fold]) for fold in numbers]
    accuracies = [
        float(((distances < threshold) == same)[folds == fold].mean())
        for fold, threshold in zip(numbers, thresholds, strict=True)
    ]
    return Folds(
        accuracy=float(np.mean(accuracies)),
        standard_error=float(np.std(accuracies, ddof=1) / np.sqrt(len(numbers))),
        accuracies=tuple(accuracies),
        thresholds=tuple(thresholds),
        pairs=len(distances),
    )


def _equal_error(far: npt.NDArray[np.float64], tar: npt.NDArray[np.float64]) -> float:
    """Return FAR where FAR + TAR = 1, on the line between the two points around it."""
    surplus = far + tar - 1
    right = max(1, int(np.argmax(surplus >= 0)))
    share = -surplus[right - 1] / (surplus[right] - surplus[right - 1])
    return float(far[right - 1] + share * (far[right] - far[right - 1]))


def _best_threshold(distances: Distances, same: npt.NDArray[np.bool_]) -> float:
    candidates, numbers = np.unique(distances, return_inverse=True)
    gains = np.bincount(numbers, weights=np.where(same, 1, -1), minlength=len(candidates))
    right = np.append(0, np.cumsum(gains))  # of accepting the first so many distances, beside accepting none
    return float(np.append(candidates.astype(np.float64), np.inf)[np.argmax(right)])
