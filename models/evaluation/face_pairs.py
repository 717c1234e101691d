"""The verification protocol of LFW: given pairs, judged in folds."""

from dataclasses import dataclass

import numpy as np

from models.calibration import Calibration, Origin, calibrate
from models.datasets import Pairs
from models.distances import paired
from models.evaluation.subject import Labels, Subject
from models.metrics import Folds, Roc, given_pairs, lfw_accuracy, roc

__all__ = ["PairTest", "measure_pairs"]

_FOLDS = 10


@dataclass(frozen=True, eq=False)
class PairTest:
    """Verification on the pairs that a protocol gives.

    Attributes:
        folds: accuracy by cross-validation.
        folds_drawn: the file is one block, as those of view 1, so that ten folds were drawn at random.
        best_accuracy: of the one threshold that is best on these very pairs, so a little too good.
        curve: the ROC of all pairs.
        operating: TAR at each FAR that there are pairs enough for, without intervals.
    """

    folds: Folds
    folds_drawn: bool
    best_accuracy: float
    curve: Roc
    operating: Calibration


def measure_pairs(subject: Subject, pairs: Pairs, *, seed: int = 0) -> PairTest:
    """Measure on given pairs.

    Args:
        subject: embeddings of `pairs.images`.
        pairs: in ten folds (view 2), or in one block (view 1), of which ten folds are drawn.
        seed: of these folds.

    Raises:
        InputError: too few pairs to judge.
    """
    rows = subject.tensor
    distances = paired(rows[pairs.left], rows[pairs.right], subject.metric).numpy()
    folds_drawn = len(np.unique(pairs.folds)) == 1
    folds = _drawn_folds(pairs, seed) if folds_drawn else pairs.folds
    given = given_pairs(distances[pairs.same], distances[~pairs.same])
    curve = roc(given)
    right = curve.tar * curve.genuine_pairs + (1 - curve.far) * curve.impostor_pairs
    return PairTest(
        folds=lfw_accuracy(distances, pairs.same, folds),
        folds_drawn=folds_drawn,
        best_accuracy=float(right.max()) / len(pairs),
        curve=curve,
        operating=calibrate(given, Origin(subject.metric, subject.images.name, subject.images.split)),
    )


def _drawn_folds(pairs: Pairs, seed: int) -> Labels:
    """Return (P,) folds with as many pairs of one person in each as there can be, and of two."""
    generator = np.random.default_rng(seed)
    folds = np.empty(len(pairs), dtype=np.int64)
    for kind in (pairs.same, ~pairs.same):
        rows = generator.permutation(np.flatnonzero(kind))
        folds[rows] = np.arange(len(rows)) % _FOLDS
    return folds
