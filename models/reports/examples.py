"""Which pictures a report shows: the worst errors, and a few queries with what they found."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.distances import pairwise
from models.evaluation import ClosedSet, PairTest, Search, Subject
from models.histograms import Histogram, histograms
from models.metrics.relevance import Relevance
from models.metrics.strips import embedding_strips

__all__ = [
    "Match",
    "Pair",
    "Row",
    "extreme_given_pairs",
    "extreme_pairs",
    "given_histograms",
    "pair_histograms",
    "random_rows",
    "wrong_rows",
]

_SHOWN_MATCHES = 8
_POOL = 32  # nearest pairs looked at for each one that is shown: those of one pair of identities are alike

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Match:
    """A gallery picture that a query found.

    Attributes:
        sample: of the set.
        rank: from 1 on.
        distance: to the query.
        right: whether it is of the query's identity.
    """

    sample: int
    rank: int
    distance: float
    right: bool


@dataclass(frozen=True)
class Row:
    """A query (a sample of the set), the direction of its search, and some of what it found, in order."""

    query: int
    direction: str
    matches: tuple[Match, ...]


@dataclass(frozen=True)
class Pair:
    """Two samples of the set, and their distance."""

    first: int
    second: int
    distance: float


def wrong_rows(subject: Subject, closed: ClosedSet, count: int) -> tuple[list[Row], int]:
    """Return queries whose first match is wrong, the latest found first, and how many such queries there are.

    Each has two matches: the wrong one at rank 1, and the first that is right.
    """
    found = closed.results[0].rankings
    wrong = np.flatnonzero(found.first > 1)
    order = wrong[np.argsort(-found.first[wrong], kind="stable")][:count]
    rows = []
    for place in order.tolist():
        matches = _ranking(subject, closed.searches[0], int(found.query[place]))
        right = next(match for match in matches if match.right)
        query = int(closed.searches[0].queries[found.query[place]])
        rows.append(Row(query, closed.name, (matches[0], right)))
    return rows, len(wrong)


def random_rows(subject: Subject, closed: ClosedSet, count: int, seed: int = 0) -> list[Row]:
    """Return random queries that have something to find, each with its first matches."""
    found = closed.results[0].rankings
    chosen = np.random.default_rng(seed).permutation(found.query)[:count]
    return [
        Row(
            int(closed.searches[0].queries[query]),
            closed.name,
            tuple(_ranking(subject, closed.searches[0], query)[:_SHOWN_MATCHES]),
        )
        for query in chosen.tolist()
    ]


def extreme_pairs(subject: Subject, count: int) -> tuple[list[Pair], list[Pair]]:
    """Return the nearest impostor pairs, of different pairs of identities, and each identity's farthest pair.

    Of the latter those of the identities where it is farthest.
    """
    nearest: list[Pair] = []
    farthest: dict[int, Pair] = {}
    for first, second, distances, genuine in _pair_strips(subject):
        impostors = np.flatnonzero(~genuine)
        near = impostors[_smallest(distances[impostors], count * _POOL)]
        nearest += [Pair(*ends) for ends in _listed(first[near], second[near], distances[near])]
        nearest = sorted(nearest, key=lambda pair: pair.distance)[: count * _POOL]
        own = np.flatnonzero(genuine)
        order = own[np.argsort(-distances[own], kind="stable")]
        _, top = np.unique(subject.known[first[order]], return_index=True)
        for ends in _listed(first[order[top]], second[order[top]], distances[order[top]]):
            identity = int(subject.known[ends[0]])
            if identity not in farthest or ends[2] > farthest[identity].distance:
                farthest[identity] = Pair(*ends)
    seen: dict[frozenset[int], Pair] = {}
    for pair in nearest:
        seen.setdefault(frozenset(subject.known[[pair.first, pair.second]].tolist()), pair)
    apart = sorted(farthest.values(), key=lambda pair: -pair.distance)
    return list(seen.values())[:count], apart[:count]


def pair_histograms(subject: Subject) -> tuple[Histogram, Histogram]:
    """Return the histograms of genuine and impostor distances, of the same pairs as verification has."""

    def tiles() -> Iterator[tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]:
        for _, _, distances, genuine in _pair_strips(subject):
            yield distances[genuine], distances[~genuine]

    own, other = histograms(tiles, 2)
    return own, other


def extreme_given_pairs(test: PairTest, count: int) -> tuple[list[Pair], list[Pair]]:
    """Return the nearest impostor pairs and the farthest genuine pairs of those that a protocol gives."""
    order = np.argsort(test.distances, kind="stable")
    near = [at for at in order.tolist() if not test.pairs.same[at]][:count]
    far = [at for at in order[::-1].tolist() if test.pairs.same[at]][:count]
    given, distances = test.pairs, test.distances
    impostor, genuine = (
        [Pair(int(given.left[at]), int(given.right[at]), float(distances[at])) for at in side]
        for side in (near, far)
    )
    return impostor, genuine


def given_histograms(test: PairTest) -> tuple[Histogram, Histogram]:
    """Return the histograms of genuine and impostor distances, of the pairs that a protocol gives."""
    same = test.pairs.same
    own, other = histograms(lambda: [(test.distances[same], test.distances[~same])], 2)
    return own, other


def _pair_strips(
    subject: Subject,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.floating], Mask]]:
    """Yield some pairs at a time: both samples, the distance, and whether they are of one identity."""
    rows = subject.once[subject.known[subject.once] != -1]
    labels, shots = subject.known[rows], subject.shots[rows]
    numbers = np.arange(len(rows))
    for part, strip in embedding_strips(subject.embeddings[rows], None, subject.metric):
        # Unknown cameras count as one for each picture, so that this leaves out no pair then.
        wanted = (numbers > numbers[part, None]) & (shots[part, None] != shots)
        first, second = np.nonzero(wanted)
        first += part.start
        yield rows[first], rows[second], strip[wanted], labels[first] == labels[second]


def _ranking(subject: Subject, search: Search, query: int) -> list[Match]:
    """Return the whole gallery in the order of one query, its junk removed."""
    sample = int(search.queries[query])
    sides = search.queries, search.gallery
    relevance = Relevance(
        (subject.labels[sides[0]], subject.labels[sides[1]]),
        (subject.shots[sides[0]], subject.shots[sides[1]]),
    )
    rows = torch.from_numpy(subject.embeddings)
    distances = pairwise(rows[sample : sample + 1], rows[search.gallery], subject.metric)[0].numpy()
    positives, junk = relevance.split(query)
    kept = np.ones(len(distances), dtype=bool)
    kept[junk] = kept[relevance.nobody] = False
    order = np.flatnonzero(kept)
    order = order[np.argsort(distances[order], kind="stable")]
    right = np.isin(order, positives)
    return [
        Match(int(search.gallery[entry]), rank, float(distances[entry]), bool(hit))
        for rank, (entry, hit) in enumerate(zip(order.tolist(), right.tolist(), strict=True), start=1)
    ]


def _smallest(values: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.int64]:
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, count)[:count]


def _listed(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], distances: npt.NDArray[np.floating]
) -> Iterator[tuple[int, int, float]]:
    return zip(first.tolist(), second.tolist(), distances.tolist(), strict=True)
