"""How far a figure may be off: percentile intervals from a seeded bootstrap over identities.

Pictures of one identity resemble each other, so identities are drawn, with replacement and as many as there
are, and each brings all of its pictures along. Drawing pictures or pairs would give intervals far too narrow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.errors import InputError, ShapeError

__all__ = ["Interval", "bootstrap_mean", "identity_draws", "percentiles", "percentiles_of_shares"]

_DRAWS_AT_ONCE = 2**20  # identities times draws


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
        low, high: the (1 - level) / 2 quantile of the draws, and the (1 + level) / 2 quantile; of shares, see
            `percentiles_of_shares`.
        level: the share of the draws between them, in (0, 1).
        draws: how many draws it is made from; those that had nothing to measure are not among them.
    """

    low: float
    high: float
    level: float
    draws: int


def bootstrap_mean(
    values: npt.NDArray[np.floating],
    identities: npt.NDArray[np.integer],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the interval of the mean of values, by a bootstrap over their identities.

    Args:
        values: (N,) shares from 0 to 1, one for each query, trial or pair.
        identities: (N,), whose it is.
        draws: how often to draw.
        level: see `Interval`.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        ShapeError: no values, or not one identity for each.
        InputError: draws below 1, or a level outside (0, 1).

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 8.3 and 13.3.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or identities.shape != values.shape:
        raise ShapeError(
            f"A bootstrap needs values and one identity for each; got {values.shape} and {identities.shape}.",
            argument="values",
            expected=values.shape,
            got=identities.shape,
        )
    _, numbers, counts = np.unique(identities, return_inverse=True, return_counts=True)
    sums = np.bincount(numbers, weights=values)
    means = [
        (weights @ sums) / (weights @ counts)
        for weights in identity_draws(len(counts), draws=draws, seed=seed)
    ]
    return percentiles_of_shares(np.concatenate(means), level, len(counts))


def identity_draws(identities: int, *, draws: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield how often each identity was drawn, (some draws, identities) at a time; a row's sum is identities.

    Raises:
        InputError: draws below 1.
    """
    if draws < 1:
        raise InputError(f"A bootstrap needs at least 1 draw, not {draws}.", argument="draws")
    generator = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // identities)
    for start in range(0, draws, step):
        count = min(step, draws - start)
        drawn = generator.integers(0, identities, (count, identities))
        drawn += identities * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * identities).reshape(count, identities)


def percentiles_of_shares(values: npt.NDArray[np.float64], level: float, identities: int) -> Interval:
    """Return `percentiles` of drawn shares, reaching at least as far as with no failure, or no success.

    Where all was right, all draws are alike, and say nothing of the failures that were not met: then the
    lower end is the exact one for as many trials without a failure as there are identities. It never is
    higher than that, nor the upper end lower than for no success.

    Args:
        values: a share for each draw.
        level: see `Interval`.
        identities: how many were drawn from.

    Raises:
        InputError: as `percentiles`.

    Source:
        Clopper and Pearson, The use of confidence or fiducial limits, 1934.
    """
    drawn = percentiles(values, level)
    no_failure = float(((1 - level) / 2) ** (1 / identities))
    return replace(drawn, low=min(drawn.low, no_failure), high=max(drawn.high, 1 - no_failure))


def percentiles(values: npt.NDArray[np.float64], level: float) -> Interval:
    """Return the interval that holds the middle `level` of the values, interpolated linearly.

    Raises:
        InputError: no values, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"The level of an interval is between 0 and 1, not {level}.", argument="level")
    if not len(values):
        raise InputError("Not one draw of the bootstrap had pairs of both kinds; use more identities.")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, len(values))
