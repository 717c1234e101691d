"""Files of rows that FAISS reads as a flat index, and that are mapped into memory."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from service.gallery.collection import CollectionMetric, Vectors

__all__ = ["faiss_metric", "flat_index", "open_vectors", "write_vectors"]

_faiss: Any = faiss  # its stubs lack much of it


def flat_index(dimension: int, metric: CollectionMetric) -> Any:
    """Return an empty flat index of FAISS."""
    return _faiss.IndexFlat(dimension, faiss_metric(metric))


def faiss_metric(metric: CollectionMetric) -> int:
    """Return FAISS's name of a metric: of unit vectors, the nearest by cosine are those by L2."""
    return int(_faiss.METRIC_INNER_PRODUCT if metric == "inner_product" else _faiss.METRIC_L2)


def write_vectors(
    path: Path,
    parts: Iterable[Vectors],
    shape: tuple[int, int],
    metric: CollectionMetric,
    *,
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Write rows, some at a time: FAISS itself would have all of them in memory first, and twice.

    Whatever `go_on`, which is called before each part, raises ends it.

    Args:
        path: of the file.
        parts: the rows, in order.
        shape: (N, D) how many rows these are in all, and of which dimension.
        metric: how they are compared.
        go_on: see above.

    Raises:
        OSError: the disk refused.
    """
    index = flat_index(shape[1], metric)
    index.ntotal = shape[0]
    head = _faiss.serialize_index(index)  # its last number tells how many floats follow
    head[-8:] = np.array([shape[0] * shape[1]], np.uint64).view(np.uint8)
    with path.open("wb") as file:
        file.write(head)
        for part in parts:
            go_on()
            file.write(np.ascontiguousarray(part, np.float32).view(np.uint8).data)


def open_vectors(path: Path, shape: tuple[int, int]) -> Vectors:
    """Return (N, D) the rows in such a file, mapped and read-only; `shape` tells N and D."""
    offset = path.stat().st_size - 4 * shape[0] * shape[1]
    mapped = np.memmap(path, np.float32, mode="r", offset=offset, shape=shape)
    return np.asarray(mapped)  # the same memory; a memmap takes 10 us to be indexed
