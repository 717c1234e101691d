"""Distances of some queries to the whole gallery at a time, so that a matrix of them all need never exist."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.distances import Metric, as_row_metric, prepare
from models.errors import NonFiniteError, ShapeError
from models.tiles import Strips

__all__ = [
    "NOBODY",
    "Distances",
    "Labels",
    "Rows",
    "Strip",
    "check_matrix",
    "embedding_strips",
    "matrix_strips",
]

NOBODY = -1  # the identity of what is junk to everyone

Distances = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
Rows = npt.NDArray[np.floating] | Tensor
Strip = tuple[slice, Distances]  # which queries, and (q, G), the reader's own to write into

_ELEMENTS = 2**21


def check_matrix(distances: Distances) -> None:
    """Refuse what is no matrix of distances (Q, G).

    Raises:
        ShapeError: another number of dimensions, no queries, or no gallery.
    """
    if distances.ndim != 2 or distances.size == 0:
        raise ShapeError(
            f"Distances must be (queries, gallery), neither empty, and are {distances.shape}.",
            argument="distances",
            got=distances.shape,
        )


def matrix_strips(distances: Distances) -> Iterator[Strip]:
    """Yield copies of some rows of a distance matrix (Q, G) at a time.

    Raises:
        NonFiniteError: a distance is NaN or infinite.
    """
    height = max(1, _ELEMENTS // distances.shape[1])
    for start in range(0, len(distances), height):
        rows = slice(start, min(start + height, len(distances)))
        strip = distances[rows].astype(np.result_type(distances, np.float16))  # a copy, of floating point
        finite = np.isfinite(strip).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise NonFiniteError(
                f"The distances of query {row} hold NaN or infinity.", argument="distances", row=row
            )
        yield rows, strip


def embedding_strips(queries: Rows, gallery: Rows | None, metric: Metric | str) -> Iterator[Strip]:
    """Yield the very distances that `models.distances.pairwise` has, of some queries (Q, D) at a time.

    Args:
        queries: (Q, D), any real dtype.
        gallery: (G, D); None: the queries.
        metric: a row metric.

    Raises:
        InputError: as `models.distances.pairwise`; ShapeError too where there are no rows.
    """
    given = {"queries": torch.as_tensor(queries).detach()}
    if gallery is not None:
        given["gallery"] = torch.as_tensor(gallery).detach()
    for name, rows in given.items():
        if not len(rows):
            raise ShapeError(f"The {name} have no rows.", argument=name, expected=">= 1", got=0)
    metric = as_row_metric(metric)
    prepared = prepare(given, metric)
    strips = Strips(prepared[0], prepared[-1], metric)
    for rows_of_strip in strips:
        yield rows_of_strip, strips.distances(rows_of_strip).cpu().numpy()
