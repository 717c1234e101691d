"""The verification protocol of LFW: given pairs, judged in folds."""

from dataclasses import dataclass

import numpy as np

from models.calibration import Calibration, Origin, calibrate
from models.datasets import Pairs
from models.distances import paired
from models.errors import InputError
from models.evaluation.subject import Labels, Subject
from models.metrics import Folds, PairDistances, Roc, given_pairs, lfw_accuracy, roc
from models.metrics.strips import Distances

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
        operating: TAR at each FAR that there are pairs enough for, without intervals; None where there are
            too few for any.
        pairs: that were judged, to look into.
        distances: (P,) theirs.
    """

    folds: Folds
    folds_drawn: bool
    best_accuracy: float
    curve: Roc
    operating: Calibration | None
    pairs: Pairs
    distances: Distances


def measure_pairs(subject: Subject, pairs: Pairs, *, seed: int = 0) -> PairTest:
    """Measure on given pairs.

    Args:
        subject: embeddings of `pairs.images`.
        pairs: in ten folds (view 2), or in one block (view 1), of which ten folds are drawn.
        seed: of these folds.

    Raises:
        InputError: too few pairs to judge.
    """
    genuine = int(pairs.same.sum())
    impostors = len(pairs) - genuine
    folds_drawn = len(np.unique(pairs.folds)) == 1
    if min(genuine, impostors) < (2 if folds_drawn else 1):
        raise InputError(
            f"Pairs of one person: {genuine:,}, of two: {impostors:,}. These are too few to judge some by "
            "the others; give two of each kind, or more."
        )
    rows = subject.tensor
    distances = paired(rows[pairs.left], rows[pairs.right], subject.metric).numpy()
    folds = _drawn_folds(pairs, seed) if folds_drawn else pairs.folds
    given = given_pairs(distances[pairs.same], distances[~pairs.same])
    curve = roc(given)
    right = curve.tar * curve.genuine_pairs + (1 - curve.far) * curve.impostor_pairs
    return PairTest(
        folds=lfw_accuracy(distances, pairs.same, folds),
        folds_drawn=folds_drawn,
        best_accuracy=float(right.max()) / len(pairs),
        curve=curve,
        operating=_operating(given, Origin(subject.metric, subject.images.name, subject.images.split)),
        pairs=pairs,
        distances=distances,
    )


def _operating(given: PairDistances, origin: Origin) -> Calibration | None:
    try:
        return calibrate(given, origin)
    except InputError:  # accuracy and curve need fewer pairs than the highest FAR does
        return None


def _drawn_folds(pairs: Pairs, seed: int) -> Labels:
    """Return (P,) folds with as many pairs of one person in each as there can be, and of two."""
    generator = np.random.default_rng(seed)
    folds = np.empty(len(pairs), dtype=np.int64)
    for kind in (pairs.same, ~pairs.same):
        rows = generator.permutation(np.flatnonzero(kind))
        folds[rows] = np.arange(len(rows)) % _FOLDS
    return folds
