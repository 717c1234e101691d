"""How widely an accelerator must search: the least effort that reaches the recall, by measuring."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.accelerator import Accelerator, Work
from service.gallery.index.flat import FlatIndex
from service.gallery.index.rounding import Floats

__all__ = ["is_exhausted", "trial_rows", "tuned"]

RECALL = 0.99
_SURE = 1.645  # standard errors: 19 times of 20 all queries find what these say, or more
_SURER = 2.33  # 99 times of 100: at the first look, where there is another one
_QUERIES = 2_000  # that decide in most cases
_MOST_QUERIES = 10_000  # where those find enough, but that may be chance
_AT_ONCE = 100  # queries, between which it can be stopped
_ASKING = (10, 20)  # of so many rows the last one may be a query: of few, and of many
_NEIGHBOURS = (10, 100)
_STEPS = {
    "hnsw": [
        *(10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 88, 96, 104, 112),
        *(120, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 448, 512, 576, 640, 704),
        *(768, 896, 1024, 1280, 1536, 1792, 2048),
    ],
    "ivf": [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024],
    "flat": [16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
}


def trial_rows(rows: int) -> int:
    """Return how many of the first rows to build it over before it is tried with others: one at least.

    The fewer are left out, the more like all of them the first ones are.
    """
    few, many = _ASKING
    return max(1, rows - min(-(-rows // few), max(_MOST_QUERIES, rows // many)))


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
    # A scan of codes takes as long as there are rows, for each of them.
    most = _QUERIES if accelerator.plan.kind == "flat" else _MOST_QUERIES
    chosen = random.choice(len(others), min(most, len(others)), replace=False)
    neighbours = [k for k in _NEIGHBOURS if k <= max(len(rows), _NEIGHBOURS[0])]
    asked = _Asked(rows, others[chosen], neighbours[-1], work)
    effort = {k: _least(_Trial(accelerator, asked, k)) for k in neighbours}
    return accelerator.with_effort(effort)


class _Asked:
    """Queries in any order, and how far the nearest rows of each are, which is found when it is needed."""

    def __init__(self, rows: FlatIndex, queries: Vectors, most: int, work: Work) -> None:
        self.rows, self.queries = rows, queries
        self._most, self._work = most, work
        self._nearest: list[Floats] = []

    def parts(self, first: int, up_to: int) -> Iterator[tuple[Vectors, list[Floats]]]:
        """Yield some queries at a time with the distances of their nearest, unless it was told to stop."""
        for at in range(first, up_to, _AT_ONCE):
            self._work.go_on()
            some = self.queries[at : min(at + _AT_ONCE, up_to)]
            if len(self._nearest) < at + len(some):
                self._nearest[at:] = [hits.distances for hits in self.rows.search(some, self._most)]
            yield some, self._nearest[at : at + len(some)]


class _Trial(NamedTuple):
    """What is tried: with queries, for their k nearest rows."""

    accelerator: Accelerator
    asked: _Asked
    k: int

    def suffices(self, effort: int) -> bool:
        """Return whether it finds RECALL of the neighbours, surely; of equally far ones any will do."""
        shares: list[float] = []
        tried = self.accelerator.with_effort({self.k: effort})
        most = len(self.asked.queries)
        for up_to, sure in ((min(_QUERIES, most), _SURER if most > _QUERIES else _SURE), (most, _SURE)):
            shares += self._shares(tried, len(shares), up_to)
            share = float(np.mean(shares))
            if share < RECALL:
                return False
            if share - sure * float(np.std(shares)) / math.sqrt(len(shares)) >= RECALL:
                return True
        return False

    def _shares(self, tried: Accelerator, first: int, up_to: int) -> Iterator[float]:
        """Yield which share of the neighbours of each of some queries it finds."""
        rows, wanted = self.asked.rows, min(self.k, len(self.asked.rows))
        for some, nearest in self.asked.parts(first, up_to):
            prepared = rows.measure.prepared(some)
            proposed = tried.propose(prepared, self.k, passing=None, share=1.0)
            for hits, far in zip(rows.measured(prepared, proposed, self.k), nearest, strict=True):
                yield np.count_nonzero(hits.distances <= far[: self.k][-1]) / wanted


def _least(trial: _Trial) -> int:
    """Return the least effort with which enough is found, or the most that there is."""
    least = trial.accelerator.least_effort(trial.k)
    steps = sorted({max(step, least) for step in _STEPS[trial.accelerator.plan.kind]})
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        if trial.suffices(steps[middle]):
            high = middle
        else:
            low = middle + 1
    return steps[low]
