"""How well a ranking by distance finds the identities that it should, exactly, with the counts behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InputError, NonFiniteError, ShapeError

__all__ = ["Retrieval", "retrieval"]

_QUERIES_AT_ONCE = 256
_NOBODY = -1

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Retrieval:
    """Closed-set retrieval, averaged over the queries that have something to find.

    Attributes:
        rank: the cumulative match characteristic: rank[k] is the share of queries with a positive among the
            first k of the gallery.
        mean_average_precision: by the `hits` convention, as torchreid and fast-reid compute it.
        queries: how many queries that is the mean of.
        skipped: how many queries had no positive in the gallery and are left out.
        gallery: how many gallery entries there are, junk included.
    """

    rank: dict[int, float]
    mean_average_precision: float
    queries: int
    skipped: int
    gallery: int


def retrieval(
    distances: npt.NDArray[np.floating],
    identities: tuple[Labels, Labels],
    cameras: tuple[Labels, Labels] | None = None,
    *,
    ranks: Sequence[int] = (1, 5, 10, 20),
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

    Raises:
        ShapeError: identities or cameras that do not fit the distances.
        NonFiniteError: a distance is NaN or infinite.
        InputError: no query has a positive.

    Source:
        Zheng et al., Scalable Person Re-identification, 2015, section 5.2.
    """
    _check(distances, identities, cameras)
    first_hits: list[npt.NDArray[np.int64]] = []
    precisions: list[npt.NDArray[np.float64]] = []
    for start in range(0, len(distances), _QUERIES_AT_ONCE):
        rows = slice(start, start + _QUERIES_AT_ONCE)
        match = identities[0][rows, None] == identities[1]  # (q, G)
        keep = np.broadcast_to(identities[1] != _NOBODY, match.shape)
        if cameras is not None:
            keep = keep & ~(match & (cameras[0][rows, None] == cameras[1]))
        order = np.argsort(distances[rows], axis=1, kind="stable")
        keep = np.take_along_axis(keep, order, axis=1)
        hits = np.take_along_axis(match, order, axis=1) & keep
        positives = hits.sum(axis=1)
        hits, keep, positives = hits[positives > 0], keep[positives > 0], positives[positives > 0]
        place = np.cumsum(keep, axis=1)  # the rank of each kept entry, from 1
        found = np.cumsum(hits, axis=1)
        first_hits.append(place[np.arange(len(hits)), hits.argmax(axis=1)])
        precision = np.divide(found, place, out=np.zeros(hits.shape), where=hits)
        precisions.append(precision.sum(axis=1) / positives)
    first, average = np.concatenate(first_hits), np.concatenate(precisions)
    if not len(first):
        raise InputError("No query has a picture of the same identity, from another camera, in the gallery.")
    return Retrieval(
        rank={k: float(np.mean(first <= k)) for k in ranks},
        mean_average_precision=float(average.mean()),
        queries=len(first),
        skipped=len(distances) - len(first),
        gallery=distances.shape[1],
    )


def _check(
    distances: npt.NDArray[np.floating],
    identities: tuple[Labels, Labels],
    cameras: tuple[Labels, Labels] | None,
) -> None:
    """Refuse what cannot be ranked."""
    if distances.ndim != 2 or distances.size == 0:
        raise ShapeError(
            f"Distances must be (queries, gallery), neither empty, and are {distances.shape}.",
            argument="distances",
            got=distances.shape,
        )
    for name, labels in (("identities", identities), ("cameras", cameras)):
        got = None if labels is None else tuple(part.shape for part in labels)
        expected = ((distances.shape[0],), (distances.shape[1],))
        if got is not None and got != expected:
            raise ShapeError(
                f"The {name} have the shapes {got} and the distances need {expected}.",
                argument=name,
                expected=expected,
                got=got,
            )
    finite = np.isfinite(distances).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise NonFiniteError(
            f"The distances of query {row} hold NaN or infinity.", argument="distances", row=row
        )
