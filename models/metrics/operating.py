"""What a threshold does to genuine and impostor pairs, and how far that may be off. Accepted means d < t."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InputError
from models.metrics.intervals import Interval, identity_draws, percentiles, percentiles_of_shares
from models.metrics.pairs import PairDistances, PairIdentities
from models.metrics.thresholds import accepted_pairs, threshold_at

__all__ = ["OperatingPoint", "operating_intervals", "tar_at_far"]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what it does.

    Attributes:
        far: as it was asked for.
        threshold: by `thresholds.threshold_at`; accepted means below it.
        measured_far: the share of impostor pairs that it accepts, at most far; less where distances are tied.
        tar: the share of genuine pairs that it accepts.
        genuine_pairs, impostor_pairs: how many there are.
    """

    far: float
    threshold: float
    measured_far: float
    tar: float
    genuine_pairs: int
    impostor_pairs: int


def tar_at_far(pairs: PairDistances, far: float) -> OperatingPoint:
    """Return the threshold for a false acceptance rate, and the true acceptance rate there.

    Args:
        pairs: genuine and impostor distances.
        far: 1 / n <= far < 1 for n impostor pairs.

    Raises:
        InputError: a rate outside that, with the number of pairs that it needs.
    """
    threshold = threshold_at(pairs.impostor, far, total=pairs.impostors)
    return OperatingPoint(
        far=far,
        threshold=threshold,
        measured_far=int(pairs.impostor.searchsorted(threshold)) / pairs.impostors,
        tar=int(pairs.genuine.searchsorted(threshold)) / len(pairs.genuine),
        genuine_pairs=len(pairs.genuine),
        impostor_pairs=pairs.impostors,
    )


def operating_intervals(
    pairs: PairDistances, far: float, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[Interval, Interval] | None:
    """Return the intervals of the threshold and of the TAR at a FAR, by a bootstrap over identities.

    An identity drawn w times brings each of its genuine pairs w times, and with one drawn v times each of
    their impostor pairs w v times. A draw with too few of these for the FAR accepts none.

    Args:
        pairs: from `pair_distances`.
        far: as for `tar_at_far`.
        draws: how often identities are drawn.
        level: of the intervals.
        seed: of the draws.

    Returns:
        Both, or None where a draw needs more of the smallest impostor distances than are held.

    Raises:
        InputError: pairs without identities; as `tar_at_far`; no draw with pairs of both kinds.
    """
    tar_at_far(pairs, far)  # refuses what cannot be asked of all pairs either
    if pairs.identities is None:
        raise InputError("An interval over identities needs to know whose the pairs are.", argument="pairs")
    found: list[tuple[float, float]] = []
    of_each = np.bincount(pairs.identities.genuine, minlength=len(pairs.identities.images))
    for weights in identity_draws(len(pairs.identities.images), draws=draws, seed=seed):
        for weight in weights:
            impostors = pairs.identities.impostor_pairs(weight)
            genuine = int(weight @ of_each)
            if impostors and genuine:
                threshold = _drawn_threshold(pairs, pairs.identities, weight, far)
                if threshold is None:
                    return None
                accepted = pairs.identities.genuine[: np.searchsorted(pairs.genuine, threshold)]
                found.append((float(threshold), int(weight[accepted].sum()) / genuine))
    thresholds, rates = np.array(found).reshape(-1, 2).T
    return percentiles(thresholds, level), percentiles_of_shares(rates, level, int((of_each > 0).sum()))


def _drawn_threshold(
    pairs: PairDistances, identities: PairIdentities, weight: npt.NDArray[np.int64], far: float
) -> np.floating | None:
    """Return the threshold of one draw: the first distance at which more than k drawn pairs are reached.

    None where the distances that are held do not reach so many.
    """
    k = accepted_pairs(far, identities.impostor_pairs(weight))
    first, second = identities.impostor
    length = min(len(pairs.impostor), k + k // 4 + 1024)  # a draw has about as many pairs as there are
    while True:
        reached = np.cumsum(weight[first[:length]] * weight[second[:length]])
        if reached[-1] > k:
            # As it is held, so that it is searched for among genuine distances without a copy of these.
            found: np.floating = pairs.impostor[np.searchsorted(reached, k, "right")]
            return found
        if length == len(pairs.impostor):
            return None
        length = min(len(pairs.impostor), 2 * length)
