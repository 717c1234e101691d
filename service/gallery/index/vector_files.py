"""Files of rows that FAISS reads as a flat index, and that are mapped into memory."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.flat import Mask

__all__ = ["faiss_metric", "flat_index", "in_parts", "named_refusals", "open_vectors", "write_vectors"]

_faiss: Any = faiss  # its stubs lack much of it
_PART_BYTES = 16 * 2**20


def flat_index(dimension: int, metric: CollectionMetric) -> Any:
    """Return an empty flat index of FAISS."""
    return _faiss.IndexFlat(dimension, faiss_metric(metric))


def faiss_metric(metric: CollectionMetric) -> int:
    """Return FAISS's name of a metric: of unit vectors, the nearest by cosine are those by L2."""
    return int(_faiss.METRIC_INNER_PRODUCT if metric == "inner_product" else _faiss.METRIC_L2)


@contextlib.contextmanager
def named_refusals(path: Path) -> Iterator[None]:
    """Make what keeps a file from being written an OSError that names it, FAISS's RuntimeError too.

    The file is gone then.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        path.unlink(missing_ok=True)
        raise OSError(f"{path.name} could not be written ({error})") from error


def in_parts(vectors: Vectors, kept: Mask, *, part_bytes: int = _PART_BYTES) -> Iterator[Vectors]:
    """Yield (n, D) some rows at a time, in order, those of (N, D) that (N,) `kept` says."""
    step = max(1, part_bytes // vectors[:1].nbytes) if len(vectors) else 1
    for at in range(0, len(vectors), step):
        some, mask = vectors[at : at + step], kept[at : at + step]
        yield some if mask.all() else some[mask]


def write_vectors(
    path: Path,
    parts: Iterable[Vectors],
    shape: tuple[int, int],
    metric: CollectionMetric,
    *,
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Write rows, some at a time: FAISS itself would have all of them in memory first, and twice.

    Args:
        path: of the file; what was written stays where `go_on` raises.
        parts: (n, D) the rows, in order; N in all.
        shape: N and D.
        metric: how they are compared.
        go_on: is called before each part; what it raises ends the writing.

    Raises:
        OSError: the disk refused.
        ValueError: these are not N rows.
    """
    index = flat_index(shape[1], metric)
    index.ntotal = shape[0]
    head = _faiss.serialize_index(index)  # its last number tells how many floats follow
    head[-8:] = np.array([shape[0] * shape[1]], np.uint64).view(np.uint8)
    written = 0
    with named_refusals(path), path.open("wb") as file:
        file.write(head)
        for part in parts:
            go_on()
            file.write(np.ascontiguousarray(part, np.float32).view(np.uint8).data)
            written += len(part)
    if written != shape[0]:  # or others would be read in their place
        raise ValueError(f"{written:,} rows were written, and {shape[0]:,} were to be.")


def open_vectors(path: Path, shape: tuple[int, int]) -> Vectors:
    """Return (N, D) the rows in such a file: mapped, read-only, and not aligned.

    Args:
        path: of the file.
        shape: N and D.
    """
    offset = path.stat().st_size - 4 * shape[0] * shape[1]
    mapped = np.memmap(path, np.float32, mode="r", offset=offset, shape=shape)
    return np.asarray(mapped)  # the same memory; a memmap takes 10 us to be indexed
