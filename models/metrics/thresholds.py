"""The one rule that turns a wanted error rate into a threshold."""

import math

import numpy as np

from models.errors import InputError
from models.metrics.strips import Distances

__all__ = ["accepted_pairs", "pairs_needed", "threshold_at"]

_ROUNDING = 1e-9  # in floating point 0.29 * 100 is 28.999999999999996


def threshold_at(
    ascending: Distances, share: float, *, total: int | None = None, of: str = "impostor pairs"
) -> float:
    """Return the threshold under which at most this share of all distances is accepted (d < t).

    With n distances and k = floor(share * n + 1e-9), t is the k-th smallest of them, counted from 0.

    Args:
        ascending: (K,), the smallest of all distances, in order.
        share: the wanted FAR or FPIR, 1 / n <= share < 1.
        total: n; None: the K given are all.
        of: what the distances are of, for the message.

    Raises:
        InputError: a share outside (0, 1) or below 1 / n, or one for which more of the smallest are needed.
    """
    total = len(ascending) if total is None else total
    if not 0 < share < 1:
        raise InputError(f"A wanted error rate is above 0 and below 1, not {share}.", argument="far")
    if total < pairs_needed(share):
        raise InputError(
            f"An error rate of {share:g} needs at least {pairs_needed(share):,} {of}; there are {total:,}. "
            "Ask for a higher rate, or bring more data.",
            argument="far",
        )
    k = accepted_pairs(share, total)
    if k >= len(ascending):
        raise InputError(
            f"An error rate of {share:g} needs the {k + 1:,} smallest distances, and {len(ascending):,} were "
            "kept. Keep more of them, or ask for a lower rate.",
            argument="far",
        )
    return float(np.asarray(ascending)[k])


def accepted_pairs(share: float, total: int) -> int:
    """Return k = floor(share * n + 1e-9), at most n - 1: how many of n distances a threshold may accept."""
    return min(math.floor(share * total + _ROUNDING), total - 1)


def pairs_needed(share: float) -> int:
    """Return the least n for which 1 / n <= share."""
    n = math.ceil(min(1 / share, 1e300))  # of the least numbers the reciprocal is infinite
    return n - 1 if n > 1 and 1 / (n - 1) <= share else n
