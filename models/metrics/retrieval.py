"""Closed-set retrieval: how well a ranking by distance finds the identities that it should."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.distances import Metric
from models.errors import InputError
from models.metrics.ranking import Rankings, rank
from models.metrics.relevance import Relevance
from models.metrics.strips import (
    Distances,
    Labels,
    Rows,
    check_matrix,
    embedding_strips,
    matrix_strips,
)

__all__ = ["MetricLearning", "Retrieval", "metric_learning", "retrieval", "retrieval_of"]


@dataclass(frozen=True)
class Retrieval:
    """Closed-set retrieval, averaged over the queries that have something to find.

    Attributes:
        rank: the cumulative match characteristic: rank[k] is the share of queries with a positive among the
            first k of the gallery.
        mean_average_precision: by the `hits` convention, as torchreid and fast-reid compute it.
        mean_average_precision_trapezoid: by the convention of the official Market-1501 script.
        mean_inverse_negative_penalty: mINP, the mean of R / the rank of the last of R positives.
        queries: how many queries that is the mean of.
        skipped: how many queries had no positive in the gallery and are left out.
        gallery: how many gallery entries there are, junk included.
        identities: how many identities those queries are of.
        positives: how many pairs of a query and a positive there are.
        rankings: what each query found, to look into or to draw an interval from.
    """

    rank: dict[int, float]
    mean_average_precision: float
    mean_average_precision_trapezoid: float
    mean_inverse_negative_penalty: float
    queries: int
    skipped: int
    gallery: int
    identities: int
    positives: int
    rankings: Rankings


@dataclass(frozen=True)
class MetricLearning:
    """Retrieval as metric-learning papers report it: every picture queries all the others.

    Attributes:
        recall: R@k: recall[k] is the share of queries with a positive among their first k.
        map_at_r: MAP@R, the mean of sum(precision at each hit among the first R) / R, for a query with R
            positives.
        r_precision: the mean share of positives among the first R.
        queries: how many pictures have another one of their identity; the means are over these.
        skipped: how many have none.
        identities: how many identities those queries are of.
        positives: how many ordered pairs of one identity there are.
    """

    recall: dict[int, float]
    map_at_r: float
    r_precision: float
    queries: int
    skipped: int
    identities: int
    positives: int


def retrieval(
    distances: Distances,
    identities: tuple[Labels, Labels],
    cameras: tuple[Labels, Labels] | None = None,
    *,
    ranks: Sequence[int] = (1, 5, 10, 20),
    junk: Labels | None = None,
) -> Retrieval:
    """Rank the gallery for every query and count what is found.

    Before ranking, a query's junk is removed: gallery entries of its identity from its own camera, and
    entries of identity -1. Equal distances keep the gallery's order. With R positives at the ranks r_1 < r_2
    < ... of what remains, the average precision is (1 / r_1 + 2 / r_2 + ... + R / r_R) / R.

    Args:
        distances: (Q, G), smaller is closer.
        identities: those of the queries (Q,) and of the gallery (G,).
        cameras: likewise; None means that no entry is junk for its camera.
        ranks: the k of rank-k; one beyond the gallery counts all of it.
        junk: (Q,), for each query one more gallery entry to remove, such as itself; -1 for none.

    Raises:
        ShapeError: identities, cameras or junk that do not fit the distances.
        NonFiniteError: a distance is NaN or infinite.
        InputError: no query has a positive.

    Source:
        Zheng et al., Scalable Person Re-identification, 2015, section 5.2; mINP: Ye et al., Deep Learning for
        Person Re-identification, 2021, equation 7.
    """
    check_matrix(distances)
    relevance = Relevance(identities, cameras, junk)
    relevance.check(*distances.shape)
    return _retrieval(rank(matrix_strips(distances), relevance), relevance, ranks)


def retrieval_of(
    queries: Rows,
    gallery: Rows,
    identities: tuple[Labels, Labels],
    cameras: tuple[Labels, Labels] | None = None,
    *,
    metric: Metric | str = "euclidean",
    ranks: Sequence[int] = (1, 5, 10, 20),
    junk: Labels | None = None,
) -> Retrieval:
    """Return what `retrieval` returns for `pairwise(queries, gallery, metric)`, without forming it at once.

    Args:
        queries: (Q, D), any real dtype; not modified.
        gallery: (G, D).
        identities: as in `retrieval`.
        cameras: as in `retrieval`.
        metric: a row metric.
        ranks: as in `retrieval`.
        junk: as in `retrieval`.

    Raises:
        InputError: as `retrieval` and `models.distances.pairwise`.
    """
    relevance = Relevance(identities, cameras, junk)
    relevance.check(len(queries), len(gallery))
    return _retrieval(rank(embedding_strips(queries, gallery, metric), relevance), relevance, ranks)


def metric_learning(
    embeddings: Rows,
    labels: Labels,
    *,
    metric: Metric | str = "euclidean",
    ranks: Sequence[int] = (1, 2, 4, 8, 10, 100, 1000),
) -> MetricLearning:
    """Let every picture query all the others, itself removed, and count what is found.

    Pictures labelled -1 are no query and are removed from the gallery. Equal distances keep the set's order.

    Args:
        embeddings: (N, D), any real dtype; not modified.
        labels: (N,).
        metric: a row metric.
        ranks: the k of R@k.

    Raises:
        ShapeError: another number of labels than of embeddings.
        InputError: as `models.distances.pairwise`; no two pictures have one label.

    Source:
        Musgrave, Belongie and Lim, A Metric Learning Reality Check, 2020, section 3.2 (MAP@R).
    """
    relevance = Relevance((labels, labels), own=np.arange(len(labels)))
    relevance.check(len(embeddings), len(embeddings))
    found = rank(embedding_strips(embeddings, None, metric), relevance)
    if not len(found.query):
        raise InputError("No two pictures have the same label, so that none has anything to find.")
    return MetricLearning(
        recall=_within(found, ranks),
        map_at_r=float(found.average_at_r.mean()),
        r_precision=float(found.share_at_r.mean()),
        **_counts(found, relevance),
    )


def _retrieval(found: Rankings, relevance: Relevance, ranks: Sequence[int]) -> Retrieval:
    if not len(found.query):
        raise InputError("No query has a picture of the same identity, from another camera, in the gallery.")
    return Retrieval(
        rank=_within(found, ranks),
        mean_average_precision=float(found.hits.mean()),
        mean_average_precision_trapezoid=float(found.trapezoid.mean()),
        mean_inverse_negative_penalty=float((found.positives / found.last).mean()),
        gallery=len(relevance.identities[1]),
        rankings=found,
        **_counts(found, relevance),
    )


def _within(found: Rankings, ranks: Sequence[int]) -> dict[int, float]:
    return {k: float(np.mean(found.first <= k)) for k in ranks}


def _counts(found: Rankings, relevance: Relevance) -> dict[str, Any]:
    queries = relevance.identities[0]
    return {
        "queries": len(found.query),
        "skipped": len(queries) - len(found.query),
        "identities": len(np.unique(queries[found.query])),
        "positives": int(found.positives.sum()),
    }
