"""The nearest items of a query in the order of k-reciprocal neighbours."""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from models.interruption import checkpoint
from models.reranking import rerank
from service.errors import InvalidFieldsError
from service.gallery.collection import Collection, CollectionMetric, Match, SearchOptions, Vectors
from service.gallery.options import MAX_RERANKED, LeftOut, Rerank

__all__ = ["search_reranked"]


def search_reranked(
    target: Collection,
    queries: Vectors,
    options: SearchOptions,
    wanted: Rerank,
    *,
    left_out: Sequence[LeftOut] = (),
) -> tuple[Sequence[Sequence[Match]], float]:
    """Return each query's matches, the closest by the re-ranked distance first, and the milliseconds it took.

    A query and its nearest items are one set, and no other query belongs to it. The milliseconds are those
    of the re-ranking alone.

    Args:
        target: is searched.
        queries: (Q, D).
        options: of the search; its k are kept.
        wanted: how it is re-ranked.
        left_out: per query what must not be found.

    Raises:
        InterruptedWorkError: nobody waits any more, which is asked before each query is re-ranked.
        InvalidFieldsError: the metric is inner_product, items are grouped, or k is more than are re-ranked.
    """
    metric = target.config.metric
    if metric == "inner_product":
        raise _refused("needs distances between items, and a product is none: a row is not nearest to itself")
    if options.group_by is not None:
        raise _refused("goes by the neighbours of items, of which group_by keeps few: use one of the two")
    if options.k > MAX_RERANKED:
        raise _refused(
            f"asks for {options.k:,}, and at most {MAX_RERANKED:,} are re-ranked: use a smaller k", at="/k"
        )
    if options.k > wanted.top:
        raise _refused(
            f"takes the {wanted.top:,} nearest, and k asks for {options.k:,}: use a top of at least k, or a "
            "smaller k",
            at="/rerank/top",
        )
    wider = replace(options, k=wanted.top, with_vector=True)
    found = target.search(queries, wider, left_out=left_out) if len(queries) else []
    began = time.perf_counter()
    ordered = [
        _reordered(query, matches, metric, options, wanted)
        for query, matches in zip(queries, found, strict=True)
    ]
    return ordered, (time.perf_counter() - began) * 1e3


def _refused(why: str, at: str = "/rerank") -> InvalidFieldsError:
    return InvalidFieldsError(f"{at}: It {why}.", [(at, f"It {why}.")])


def _reordered(
    query: Vectors, matches: Sequence[Match], metric: CollectionMetric, options: SearchOptions, wanted: Rerank
) -> list[Match]:
    checkpoint()
    if not matches:
        return []
    vectors = torch.stack([torch.as_tensor(match.vector) for match in matches])
    distances = rerank(
        torch.as_tensor(query)[None], vectors, metric=metric, k1=wanted.k1, k2=wanted.k2, weight=wanted.weight
    )[0].tolist()
    order = sorted(range(len(matches)), key=lambda i: distances[i])[: options.k]  # stable: ties by distance
    return [
        matches[i]._replace(
            rerank_distance=distances[i],
            vector=matches[i].vector if options.with_vector else None,
        )
        for i in order
    ]
