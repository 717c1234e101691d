"""How much an index finds of what comparing with every item finds, and how long both take."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.interruption import checkpoint
from models.metrics.intervals import Interval, bootstrap_mean
from service.gallery.collection import Collection, Match, SearchOptions, Vectors
from service.gallery.options import NOTHING, LeftOut

__all__ = ["Compared", "compare", "summary"]

_SLACK = 1e-9  # relative: both distances are float64, summed in another order
_DRAWS = 1_000


@dataclass(frozen=True, slots=True)
class Compared:
    """One query, searched with both ways.

    Attributes:
        recall: which share of the k nearest was found; None where no item qualifies.
        ms: of the index.
        exact_ms: of comparing with every item.
    """

    recall: float | None
    ms: float
    exact_ms: float


def compare(
    target: Collection, queries: Vectors, options: SearchOptions, *, left_out: Sequence[LeftOut] = ()
) -> list[Compared]:
    """Search with each query alone, by the index and exactly.

    Any item as near as the k-th nearest counts as found: which of several at one distance comes is chance.

    Raises:
        InterruptedWorkError: nobody waits any more, which is asked before each query.
    """
    return [
        _compared(target, queries[i : i + 1], options, left_out[i] if left_out else NOTHING)
        for i in range(len(queries))
    ]


def summary(compared: Sequence[Compared]) -> tuple[float | None, Interval | None]:
    """Return the mean recall, and its 95 % interval by a bootstrap over queries where there are two."""
    recalls = np.array([one.recall for one in compared if one.recall is not None])
    if not len(recalls):
        return None, None
    if len(recalls) < 2:
        return float(recalls.mean()), None
    return float(recalls.mean()), bootstrap_mean(recalls, np.arange(len(recalls)), draws=_DRAWS)


def _compared(target: Collection, query: Vectors, options: SearchOptions, left_out: LeftOut) -> Compared:
    checkpoint()
    found, ms = _timed(target, query, replace(options, exact=False), left_out)
    nearest, exact_ms = _timed(target, query, replace(options, exact=True), left_out)
    if not nearest:
        return Compared(None, ms, exact_ms)
    furthest = nearest[-1].distance
    furthest += _SLACK * abs(furthest)
    hits = len({match.id for match in found if match.distance <= furthest})
    return Compared(min(1.0, hits / len(nearest)), ms, exact_ms)


def _timed(
    target: Collection, query: Vectors, options: SearchOptions, left_out: LeftOut
) -> tuple[Sequence[Match], float]:
    began = time.perf_counter()
    (matches,) = target.search(query, options, left_out=[left_out])
    return matches, (time.perf_counter() - began) * 1e3
