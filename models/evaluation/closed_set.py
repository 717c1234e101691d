"""Closed sets: queries whose identities are in the gallery, as each protocol chooses them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.errors import InputError
from models.evaluation.subject import Labels, Protocol, Subject
from models.metrics import Interval, Retrieval, bootstrap_mean, retrieval, retrieval_of
from models.reranking import rerank

__all__ = ["ClosedSet", "Reranking", "Search", "closed_sets", "measure_closed_set", "reranked"]

_DRAWS_OF_VEHICLEID = 10


@dataclass(frozen=True, eq=False)
class Search:
    """Which pictures of a set are looked for among which.

    Attributes:
        queries: (Q,) samples of the set.
        gallery: (G,) samples of the set.
    """

    queries: Labels
    gallery: Labels


@dataclass(frozen=True, eq=False)
class ClosedSet:
    """Closed-set retrieval in one direction, or by several draws of the gallery.

    Attributes:
        name: the direction.
        searches: one, or one for each draw.
        results: of each search.
        rank_1: the interval of rank-1, by a bootstrap over identities.
        mean_average_precision: likewise, of mAP.
    """

    name: str
    searches: tuple[Search, ...]
    results: tuple[Retrieval, ...]
    rank_1: Interval
    mean_average_precision: Interval

    @property
    def mean(self) -> Retrieval:
        """Return the mean over the draws; its counts and its rankings are those of the first."""
        results, first = self.results, self.results[0]
        return replace(
            first,
            rank={k: _mean(result.rank[k] for result in results) for k in first.rank},
            mean_average_precision=_mean(result.mean_average_precision for result in results),
            mean_average_precision_trapezoid=_mean(
                result.mean_average_precision_trapezoid for result in results
            ),
            mean_inverse_negative_penalty=_mean(result.mean_inverse_negative_penalty for result in results),
        )


@dataclass(frozen=True, eq=False)
class Reranking:
    """A search by the distances as they are, and by k-reciprocal re-ranking.

    Attributes:
        plain, reranked: the same queries and gallery.
    """

    plain: Retrieval
    reranked: Retrieval


def closed_sets(
    subject: Subject, protocol: Protocol, *, draws: int = 1000, seed: int = 0
) -> tuple[ClosedSet, ...]:
    """Measure every closed set that a protocol has.

    Args:
        subject: the set.
        protocol: "vehicleid" draws the gallery; all others take queries and gallery where the set says them,
            both directions between two cameras, and else every picture against all others.
        draws: of the bootstrap.
        seed: of the galleries and of the bootstrap.

    Raises:
        InputError: no query has anything to find.
    """
    if protocol == "vehicleid":
        named = {f"mean of {_DRAWS_OF_VEHICLEID} draws": _galleries_of_one(subject, seed)}
    else:
        named = {name: (search,) for name, search in _searches(subject).items()}
    return tuple(
        measure_closed_set(subject, name, searches, draws=draws, seed=seed)
        for name, searches in named.items()
    )


def measure_closed_set(
    subject: Subject, name: str, searches: Sequence[Search], *, draws: int = 1000, seed: int = 0
) -> ClosedSet:
    """Run searches, and bootstrap over the identities of all their queries.

    Raises:
        InputError: no query has anything to find.
    """
    results = [
        retrieval_of(
            subject.embeddings[search.queries],
            subject.embeddings[search.gallery],
            (subject.labels[search.queries], subject.labels[search.gallery]),
            (subject.shots[search.queries], subject.shots[search.gallery]),
            metric=subject.metric,
        )
        for search in searches
    ]
    found = [result.rankings for result in results]
    identities = np.concatenate(
        [subject.labels[search.queries[part.query]] for search, part in zip(searches, found, strict=True)]
    )
    rank_1, precision = (
        bootstrap_mean(np.concatenate(values), identities, draws=draws, seed=seed)
        for values in ([part.first == 1 for part in found], [part.hits for part in found])
    )
    return ClosedSet(name, tuple(searches), tuple(results), rank_1, precision)


def reranked(subject: Subject, closed: Sequence[ClosedSet], *, seed: int = 0) -> dict[str, Reranking]:
    """Measure with and without k-reciprocal re-ranking; the distances of all queries are held.

    Queries and gallery form one set, so no picture may be in both: where every picture queries all others,
    queries are drawn as Market-1501's were, one picture of each identity in each camera, and the others are
    the gallery.

    Raises:
        InputError: no query has anything to find then, or a metric that is not symmetric.
    """
    answers = {}
    for each in closed:
        name, search = each.name, each.searches[0]
        if np.array_equal(search.queries, search.gallery):
            name, search = "drawn queries", _drawn_queries(subject, seed)
        labels = subject.labels[search.queries], subject.labels[search.gallery]
        shots = subject.shots[search.queries], subject.shots[search.gallery]
        queries, gallery = (subject.tensor[side] for side in (search.queries, search.gallery))
        distances = rerank(queries, gallery, metric=subject.metric).numpy()
        answers[name] = Reranking(
            plain=measure_closed_set(subject, name, [search], draws=1).results[0],
            reranked=retrieval(distances, labels, shots),
        )
    return answers


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _searches(subject: Subject) -> dict[str, Search]:
    """Return the directions of a set whose galleries are not drawn."""
    images = subject.images
    if images.has_roles:
        return {"query -> gallery": Search(images.queries(), images.gallery())}
    if len(images.cameras) != 2:
        everything = np.arange(len(images))
        return {"all": Search(everything, everything)}
    sides = [np.flatnonzero(subject.shots == number) for number in (0, 1)]
    return {
        f"{images.cameras[query]} -> {images.cameras[gallery]}": Search(sides[query], sides[gallery])
        for query, gallery in ((0, 1), (1, 0))
    }


def _galleries_of_one(subject: Subject, seed: int) -> tuple[Search, ...]:
    """Draw galleries of one random picture of each identity; all other pictures are queries."""
    generator = np.random.default_rng(seed)
    somebody = np.flatnonzero(subject.labels != -1)
    if not len(somebody):
        raise InputError("The protocol of VehicleID needs identities, and all pictures are of nobody.")
    searches = []
    for _ in range(_DRAWS_OF_VEHICLEID):
        shuffled = generator.permutation(somebody)
        _, first = np.unique(subject.labels[shuffled], return_index=True)
        gallery = np.sort(shuffled[first])
        searches.append(Search(np.setdiff1d(somebody, gallery), gallery))
    return tuple(searches)


def _drawn_queries(subject: Subject, seed: int) -> Search:
    generator = np.random.default_rng(seed)
    everything = np.arange(len(subject.labels))
    shuffled = generator.permutation(np.flatnonzero(subject.labels != -1))
    cameras = np.zeros_like(subject.labels) if subject.cameras is None else subject.cameras
    _, first = np.unique(np.stack([subject.labels, cameras])[:, shuffled], axis=1, return_index=True)
    queries = np.sort(shuffled[first])
    gallery = np.setdiff1d(everything, queries)
    if not len(gallery):
        raise InputError("Re-ranking needs a gallery beside the queries: further pictures of an identity.")
    return Search(queries, gallery)
