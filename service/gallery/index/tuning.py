"""How widely an accelerator must search: the least effort that reaches the recall, by measuring."""

from typing import NamedTuple

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.accelerator import Accelerator, Work
from service.gallery.index.flat import FlatIndex

__all__ = ["tuned"]

RECALL = 0.99
_WANTED = 0.993  # the sample is not the queries that come
_QUERIES = 200
_NEIGHBOURS = (10, 100)
_STEPS = {
    "hnsw": [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048],
    "ivf": [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024],
    "flat": [16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
}


def tuned(accelerator: Accelerator, rows: FlatIndex, work: Work) -> Accelerator:
    """Return it with the least effort that finds RECALL of the 10 and of the 100 nearest.

    The queries lie between rows: a row plus half the difference of two of its neighbours, so that they are
    like the rows, and are none of them. A row itself would be found too easily: its links are its nearest.

    Raises:
        Stopped: it was told to stop.
    """
    if accelerator.plan.effort is not None:
        return accelerator.with_effort({_NEIGHBOURS[0]: accelerator.plan.effort})
    queries = _between(rows, work)
    effort: dict[int, int] = {}
    for k in (k for k in _NEIGHBOURS if k <= len(rows)):
        work.go_on()
        truth = rows.search(queries, k)
        effort[k] = _least(
            _Trial(accelerator, rows, queries, [hits.distances[-1] for hits in truth], k), work
        )
    return accelerator.with_effort(effort)


class _Trial(NamedTuple):
    """What is tried: queries, and how far the k-th nearest row of each is."""

    accelerator: Accelerator
    rows: FlatIndex
    queries: Vectors
    reach: list[float]
    k: int

    def recall(self, effort: int) -> float:
        """Return the share of found neighbours; of equally far ones any will do."""
        tried = self.accelerator.with_effort({self.k: effort})
        prepared = self.rows.measure.prepared(self.queries)
        proposed = tried.propose(prepared, self.k, passing=None, share=1.0)
        measured = self.rows.measured(prepared, proposed, self.k)
        found = sum(
            int(np.count_nonzero(hits.distances <= reach))
            for hits, reach in zip(measured, self.reach, strict=True)
        )
        return found / (self.k * len(self.queries))


def _least(trial: _Trial, work: Work) -> int:
    """Return the least effort with which enough is found, or the most that there is."""
    steps = _STEPS[trial.accelerator.plan.kind]
    low, high = 0, len(steps) - 1
    while low < high:
        work.go_on()
        middle = (low + high) // 2
        if trial.recall(steps[middle]) >= _WANTED:
            high = middle
        else:
            low = middle + 1
    return steps[low]


def _between(rows: FlatIndex, work: Work) -> Vectors:
    """Return (Q, D) queries between rows, drawn alike at every build."""
    random = np.random.default_rng(1)
    alive = np.flatnonzero(rows.alive)
    chosen = random.choice(alive, min(_QUERIES, len(alive)), replace=False)
    work.go_on()
    near = rows.search(rows.vectors[chosen], min(10, len(alive)))
    pairs = np.array([random.choice(np.searchsorted(rows.labels, hits.labels), 2) for hits in near])
    queries = rows.vectors[chosen] + (rows.vectors[pairs[:, 0]] - rows.vectors[pairs[:, 1]]) / 2
    zero = ~queries.any(axis=1)  # opposite rows; cosine knows no direction of it
    queries[zero] = rows.vectors[chosen[zero]]
    return np.ascontiguousarray(queries, np.float32)
