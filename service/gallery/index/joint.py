"""One search of rows that lie in several parts: what each proposes is measured together.

Beside an import most searches are of three parts. To search each by itself, and to merge what was found,
takes twice as long, most of it in Python.
"""

from collections.abc import Sequence

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.buffers import Integers, taken
from service.gallery.index.flat import FlatIndex
from service.gallery.index.hits import EvenHits, nearest_labels, stacked
from service.gallery.index.measuring import BLOCK_NUMBERS
from service.gallery.index.rounding import Floats
from service.gallery.index.scanning import scan
from service.gallery.index.sealed import Sealed

__all__ = ["joint_search"]

_SPARE = 4  # rows that float32 cannot tell apart, as a rule


def joint_search(
    sealed: Sealed, recent: Sealed | None, delta: FlatIndex, queries: Vectors, k: int
) -> EvenHits | None:
    """Return each query's k nearest rows, as `Index.search` does; None where that takes more than this.

    Args:
        sealed: most rows; where these are scanned, that is None.
        recent: newer ones, which are scanned where they are few.
        delta: the newest, which are scanned.
        queries: (Q, D) finite.
        k: how many.

    Raises:
        DomainError: a query is a zero vector, and the metric is cosine.
    """
    if not len(queries) or not sealed.proposes(k):
        return None
    prepared = delta.measure.prepared(queries)
    candidates: list[tuple[Integers, FlatIndex]] = []
    floors = np.full(len(queries), np.inf)
    older, scanned = [sealed, *([recent] if recent else [])], [delta]
    for part in older:
        if not part.proposes(k):
            scanned.append(part.rows)
            continue
        positions = part.proposed(prepared, k)
        if -1 in positions[:, k - 1].tolist():  # too few were met on the way
            return None
        candidates.append((positions, part.rows))
    for rows in scanned:
        if rows.rows:
            positions, under = _scanned(rows, prepared, k)
            candidates.append((positions, rows))
            floors = np.minimum(floors, under)
    each = sum(positions.shape[1] for positions, _ in candidates)
    step = max(1, BLOCK_NUMBERS // (each * queries.shape[1]))
    blocks = []
    for at in range(0, len(prepared), step):
        some = [(positions[at : at + step], rows) for positions, rows in candidates]
        blocks.append(_nearest(some, prepared[at : at + step], k))
    found = stacked(blocks)
    return found if (found.distances[:, -1] < floors).all() else None


def _scanned(rows: FlatIndex, prepared: Vectors, k: int) -> tuple[Integers, Floats]:
    """Return (Q, F) positions of near rows, removed ones too, and (Q,) a floor under the distances of others.

    A position is -1 where a distance overflowed.
    """
    fetch, product = min(rows.rows, k + _SPARE), rows.metric == "inner_product"
    positions, worst = scan(prepared, rows.vectors, fetch, product=product, threads=rows.threads)
    if fetch == rows.rows:
        return positions, np.full(len(prepared), np.inf)
    return positions, rows.measure.floors(prepared, worst, rows.longest)


def _nearest(candidates: Sequence[tuple[Integers, FlatIndex]], queries: Vectors, k: int) -> EvenHits:
    """Return the k nearest of (Q, F) rows of each part; removed ones, and -1, are infinitely far."""
    measure = candidates[0][1].measure
    vectors = np.concatenate([taken(rows.vectors, positions) for positions, rows in candidates], axis=1)
    labels = np.concatenate([rows.labels.take(positions) for positions, rows in candidates], axis=1)
    distances = measure.paired(queries, vectors)
    at = 0
    for positions, rows in candidates:
        end = at + positions.shape[1]
        if -1 in positions[:, -1].tolist():
            distances[:, at:end][positions < 0] = np.inf
        if len(rows) < rows.rows:
            distances[:, at:end][~rows.alive[positions]] = np.inf
        at = end
    return nearest_labels(labels, distances, k)
