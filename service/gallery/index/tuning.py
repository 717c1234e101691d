"""How widely an accelerator must search: the least effort that reaches the recall, by measuring."""

from typing import NamedTuple

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.accelerator import Accelerator, Work
from service.gallery.index.flat import FlatIndex

__all__ = ["trial_rows", "tuned"]

RECALL = 0.99
_WANTED = 0.995  # what a few hundred queries find is a little above or below what those find that come
_QUERIES = 300
_ASKING = 10  # of so many rows the last one may be a query
_NEIGHBOURS = (10, 100)
_STEPS = {
    "hnsw": [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048],
    "ivf": [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024],
    "flat": [16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
}


def trial_rows(rows: int) -> int:
    """Return how many of the first rows to build it over before it is tried with others: one at least."""
    return max(1, rows - -(-rows // _ASKING))


def tuned(accelerator: Accelerator, rows: FlatIndex, others: Vectors, work: Work) -> Accelerator:
    """Return it with the least effort that finds RECALL of the 10 and of the 100 nearest.

    The queries are rows that it does not have yet, the newest: they are to the others what a new picture
    is to those enrolled. A row that it has would be found too easily, for its links are its nearest; and
    one made up of several lies where no picture does.

    Args:
        accelerator: over rows.
        rows: the same.
        others: (M, D) rows of the same collection; where there are none, the only row has to do.
        work: may be told to stop.

    Raises:
        Stopped: it was told to stop.
    """
    if accelerator.plan.effort is not None:
        return accelerator.with_effort({_NEIGHBOURS[0]: accelerator.plan.effort})
    others = others if len(others) else rows.vectors
    random = np.random.default_rng(1)  # alike at every build
    chosen = random.choice(len(others), min(_QUERIES, len(others)), replace=False)
    queries = np.ascontiguousarray(others[np.sort(chosen)])
    effort: dict[int, int] = {}
    for k in (k for k in _NEIGHBOURS if k <= max(len(rows), _NEIGHBOURS[0])):
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
