"""How widely an accelerator must search: the least effort that reaches the recall, by measuring."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.accelerator import Accelerator, Work
from service.gallery.index.flat import FlatIndex, Hits
from service.gallery.index.rounding import Floats

__all__ = ["is_exhausted", "trial_rows", "tuned"]

RECALL = 0.99
_SURE = 1.645  # standard errors: 19 times of 20 all queries find what these say, or more
_QUERIES = 2_000
_AT_ONCE = 100  # queries, between which it can be stopped
_ASKING = 10  # of so many rows the last one may be a query
_NEIGHBOURS = (10, 100)
_STEPS = {
    "hnsw": [
        *(10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256),
        *(320, 384, 448, 512, 640, 768, 1024, 1280, 1536, 2048),
    ],
    "ivf": [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024],
    "flat": [16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
}


def trial_rows(rows: int) -> int:
    """Return how many of the first rows to build it over before it is tried with others: one at least."""
    return max(1, rows - -(-rows // _ASKING))


def is_exhausted(accelerator: Accelerator) -> bool:
    """Return whether the effort that was found is the most that there is, which may not suffice."""
    return _STEPS[accelerator.plan.kind][-1] in accelerator.effort.values()


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
    neighbours = [k for k in _NEIGHBOURS if k <= max(len(rows), _NEIGHBOURS[0])]
    exact: list[Hits] = []
    for some in _parts(queries, work):
        exact += rows.search(some, neighbours[-1])
    effort: dict[int, int] = {}
    for k in neighbours:
        reach = np.array([hits.distances[:k][-1] for hits in exact])
        effort[k] = _least(_Trial(accelerator, rows, queries, reach, k, work))
    return accelerator.with_effort(effort)


def _parts(queries: Vectors, work: Work) -> Iterator[Vectors]:
    """Yield (Q, D) queries some at a time, unless it was told to stop."""
    for at in range(0, len(queries), _AT_ONCE):
        work.go_on()
        yield queries[at : at + _AT_ONCE]


class _Trial(NamedTuple):
    """What is tried: (Q, D) queries, and (Q,) how far the k-th nearest row of each is."""

    accelerator: Accelerator
    rows: FlatIndex
    queries: Vectors
    reach: Floats
    k: int
    work: Work

    def suffices(self, effort: int) -> bool:
        """Return whether it finds RECALL of the neighbours, surely; of equally far ones any will do."""
        tried = self.accelerator.with_effort({self.k: effort})
        found: list[int] = []
        for some in _parts(self.queries, self.work):
            prepared = self.rows.measure.prepared(some)
            proposed = tried.propose(prepared, self.k, passing=None, share=1.0)
            measured = self.rows.measured(prepared, proposed, self.k)
            reach = self.reach[len(found) :]
            found += [int(np.count_nonzero(hits.distances <= reach[i])) for i, hits in enumerate(measured)]
        shares = np.array(found) / min(self.k, len(self.rows))
        error = shares.std() / np.sqrt(len(shares))
        return bool(shares.mean() - _SURE * error >= RECALL)


def _least(trial: _Trial) -> int:
    """Return the least effort with which enough is found, or the most that there is."""
    steps = _STEPS[trial.accelerator.plan.kind]
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        if trial.suffices(steps[middle]):
            high = middle
        else:
            low = middle + 1
    return steps[low]
