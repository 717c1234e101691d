"""Where the positives of each query stand among the gallery.

The gallery is never put in order. The rank of a positive is 1 + the kept entries that are closer + those at
the same distance that come before it in the gallery: exactly its place after a stable sort.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from models.metrics.relevance import Relevance
from models.metrics.strips import Distances, Strip

__all__ = ["Rankings", "rank"]

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rankings:
    """What the ranks of its positives say of each query that has any: arrays (V,), in the queries' order.

    With the R positives at the ranks r_1 < r_2 < ..., from 1 on:

    Attributes:
        query: its number, int64.
        positives: R, int64.
        first: r_1, int64.
        last: r_R, int64.
        hits: average precision as torchreid and fast-reid have it: sum(n / r_n) / R.
        trapezoid: average precision as the official script of Market-1501 has it: each precision n / r_n is
            averaged with that one rank before, (n - 1) / (r_n - 1), which is taken as 1 before rank 1.
        average_at_r: sum(n / r_n) / R over the positives among the first R; its mean is MAP@R.
        share_at_r: the share of the first R that is positive (R-precision).
    """

    query: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    hits: npt.NDArray[np.float64]
    trapezoid: npt.NDArray[np.float64]
    average_at_r: npt.NDArray[np.float64]
    share_at_r: npt.NDArray[np.float64]


def rank(strips: Iterable[Strip], relevance: Relevance) -> Rankings:
    """Rank the positives of every query.

    Args:
        strips: the (q, G) finite distances of all queries, in order; they are written into.
        relevance: checked to fit them.
    """
    parts = []
    for rows, strip in strips:
        strip[:, relevance.nobody] = np.inf  # farther than every positive, so that it takes no rank
        queries, ranks = [], []
        for query, row in enumerate(strip, rows.start):
            positives, junk = relevance.split(query)
            row[junk] = np.inf
            if len(positives):
                queries.append(query)
                ranks.append(np.sort(_stable_ranks(row, positives)))
        parts.append(_rankings(queries, ranks))
    return Rankings(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rankings))
    )


def _stable_ranks(row: Distances, columns: Ranks) -> Ranks:
    """Return the ranks, from 1, that these columns (P,) of a row (G,) have after a stable sort of it."""
    distances = row[columns]
    near = row[row <= distances.max()]
    near.sort()
    ranks: Ranks = near.searchsorted(distances, "left") + 1
    tied = near.searchsorted(distances, "right") > ranks
    if tied.any():
        for distance in np.unique(distances[tied]):
            here = distances == distance
            ranks[here] += np.flatnonzero(row == distance).searchsorted(columns[here])
    return ranks


def _rankings(queries: list[int], ranks: list[Ranks]) -> Rankings:
    """Compute all figures of some queries at once, from the ascending ranks of each one's positives."""
    counts = np.array([len(part) for part in ranks], dtype=np.int64)
    stops = np.cumsum(counts)
    starts = stops - counts
    flat = np.concatenate([np.empty(0, dtype=np.int64), *ranks])
    nth = np.arange(len(flat)) - np.repeat(starts, counts) + 1
    precision = nth / flat
    before = np.divide(nth - 1, flat - 1, out=np.ones(len(flat)), where=flat > 1)
    among_r = flat <= np.repeat(counts, counts)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.add.reduceat(values, starts) / counts if len(counts) else np.empty(0)

    return Rankings(
        query=np.array(queries, dtype=np.int64),
        positives=counts,
        first=flat[starts],
        last=flat[stops - 1],
        hits=mean(precision),
        trapezoid=mean((precision + before) / 2),
        average_at_r=mean(np.where(among_r, precision, 0.0)),
        share_at_r=mean(among_r.astype(np.float64)),
    )
