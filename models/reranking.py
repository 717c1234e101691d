"""k-reciprocal re-ranking: what has the same neighbours as the query moves up.

Queries and gallery are one set of N rows, the queries first, and N(i, k) are the k rows nearest to row i,
itself among them, equal distances in the order of the rows.

1. d(i, j): the squared distance over the largest of row i; all 0 where that is 0.
2. R(i, k): the rows of N(i, k + 1) that have i in their own N(., k + 1). R*(i): R(i, k1), and R(j, k1 / 2) of
   each j in R(i, k1) of which more than 2/3 is in R(i, k1). Half of k1 is rounded to the even number.
3. V(i, j) = exp(-d(i, j)) for j in R*(i), divided by their sum; then the mean over the rows of N(i, k2).
4. With m(q, g) = sum of min(V(q, j), V(g, j)) the answer is (1 - weight) (1 - m / (2 - m)) + weight d(q, g).

Memory, beyond copies of the inputs, the answer and some 64 MiB of distances, grows by N times the neighbours,
not by N x N. All but the distances is float64, so that the ranks are those of the dense formula.

Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, 2017.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.distances import Metric, as_row_metric, prepare
from models.errors import OptionError
from models.formulas import DISTRIBUTIONS
from models.reciprocal import Members, Options, check_count, nearest, reranked
from models.tiles import Strips

__all__ = ["Reranked", "rerank", "rerank_top"]

_SQUARES = frozenset({"squared_euclidean", "cosine"})


class Reranked(NamedTuple):
    """The gallery's first rows for each query: `indices` (Q, K) int64, and `distances` (Q, K) float32."""

    indices: Tensor
    distances: Tensor


@torch.no_grad()
def rerank(
    queries: Tensor,
    gallery: Tensor,
    *,
    metric: Metric | str = "euclidean",
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Tensor:
    """Return the re-ranked distance between every query and every row of the gallery.

    Args:
        queries: (Q, D), any real dtype; every query counts as a neighbour of the others.
        gallery: (G, D), same device.
        metric: a symmetric row metric. `squared_euclidean` and `cosine`, half the squared distance of unit
            rows, are squares already; every other distance is squared.
        k1: neighbours that must be mutual, >= 1; beyond N: all.
        k2: rows over which V is averaged, >= 1; 1 leaves V as it is.
        weight: of the distance itself, 0 to 1 (the paper's lambda).

    Returns:
        (Q, G) float32, 0 to 1, smaller is closer; without gradient.

    Raises:
        OptionError: a metric that is not symmetric, or k1, k2 or weight out of range.
        InputError: as `models.distances.pairwise`.

    Example:
        The nearest row of the gallery has its own company; the second has only the query.

        >>> query, gallery = torch.tensor([[0.0]]), torch.tensor([[-2.0], [1.9], [2.05], [2.1]])
        >>> rerank(query, gallery, k1=2, k2=1).argsort()[0, :2].tolist()
        [0, 1]
    """
    options = Options(k1, k2, weight)
    return _whole(_of_embeddings(queries, gallery, metric), options)


@torch.no_grad()
def rerank_top(
    queries: Tensor,
    gallery: Tensor,
    keep: int,
    *,
    metric: Metric | str = "euclidean",
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Reranked:
    """Return each query's first rows of the gallery by the re-ranked distance; (Q, G) numbers are never held.

    Args:
        queries: (Q, D), as `rerank`.
        gallery: (G, D).
        keep: how many, >= 1; at most the gallery.
        metric: as `rerank`.
        k1: as `rerank`.
        k2: as `rerank`.
        weight: as `rerank`.

    Returns:
        K = min(keep, G) rows of the gallery for each query, the closest first, ties in the gallery's order.

    Raises:
        OptionError: keep < 1, or as `rerank`.
        InputError: as `rerank`.
    """
    options = Options(k1, k2, weight)
    check_count("keep", keep)
    members = _of_embeddings(queries, gallery, metric)
    width = min(keep, members.count - members.queries)
    indices = members.like.new_empty(members.queries, width, dtype=torch.int64)
    distances = members.like.new_empty(members.queries, width, dtype=torch.float32)
    for rows, strip in reranked(members, options):
        indices[rows] = nearest(strip, width)
        distances[rows] = strip.gather(1, indices[rows])
    return Reranked(indices, distances)


def _of_embeddings(queries: Tensor, gallery: Tensor, metric: Metric | str) -> Members:
    metric = as_row_metric(metric)
    if metric.name in DISTRIBUTIONS:
        message = (
            f"{metric.name} is not symmetric, and re-ranking needs mutual neighbours; use another metric."
        )
        raise OptionError(message, argument="metric")
    rows = torch.cat(prepare({"queries": queries, "gallery": gallery}, metric))
    return Members(rows, len(queries), metric.name in _SQUARES, Strips(rows, rows, metric).distances)


def _whole(members: Members, options: Options) -> Tensor:
    shape = members.queries, members.count - members.queries
    answer = members.like.new_empty(shape, dtype=torch.float32)
    for rows, strip in reranked(members, options):
        answer[rows] = strip
    return answer
