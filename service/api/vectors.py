"""Vectors in: lists of numbers as the rows of an array, and what is wrong with those that are none."""

from collections.abc import Callable, Sequence

import numpy as np
from anyio import to_thread
from fastapi import Request
from torch import Tensor

from models.errors import NonFiniteError, ShapeError
from service.api.wire import body_bytes
from service.errors import InvalidFieldsError
from service.gallery.collection import Vectors
from service.gallery.index.rounding import Floats

__all__ = ["located", "vectors_of"]

_FEW = 2048  # numbers: a tenth of a millisecond
_SMALL_BYTES = 64 * 1024  # of a body with as many
_LARGEST_SQUARE = float(np.finfo(np.float32).max) ** 2  # no number is larger where their squares' sum is not


async def vectors_of(request: Request, samples: Sequence[object], at: Callable[[int], str]) -> Vectors:
    """Return samples, none of which is a picture, as (N, D) float32; few on the event loop, many in a thread.

    Args:
        request: that they came in.
        samples: lists of numbers, or tensors of them.
        at: gives the JSON pointer of the n-th sample, for errors.

    Raises:
        InvalidFieldsError: one is no vector, or they have different lengths or numbers beyond float32.
    """
    # Of a large body a list may hold longer lists, which are counted by nobody until they are looked at.
    few = body_bytes(request) <= _SMALL_BYTES
    few = few and sum([len(one) for one in samples if isinstance(one, (list, Tensor))]) <= _FEW
    return _rows(samples, at) if few else await to_thread.run_sync(_rows, samples, at)


def located(pointer: str, message: str, kind: type[Exception] | None = None) -> InvalidFieldsError:
    """Return the error of a sample at this pointer."""
    return InvalidFieldsError(f"{pointer}: {message}", [(pointer, message)], kind=kind)


def _rows(samples: Sequence[object], at: Callable[[int], str]) -> Vectors:
    try:
        array = np.asarray([sample.tolist() if isinstance(sample, Tensor) else sample for sample in samples])
    except (ValueError, OverflowError):
        raise _worst_row(samples, at) from None
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise _worst_row(samples, at)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    if not np.vdot(array, array) <= _LARGEST_SQUARE:
        return _with_large_ones(array, at)
    return array.astype(np.float32)


def _with_large_ones(array: Floats, at: Callable[[int], str]) -> Vectors:
    """Return rows with NaN or infinity, which are refused by whoever knows why, as float32."""
    with np.errstate(over="ignore"):
        rows: Vectors = array.astype(np.float32)
    if (too_large := (np.isinf(rows) & np.isfinite(array)).any(axis=1)).any():
        message = (
            "It has a number beyond 3.4e38, the largest of float32, in which vectors are kept and searched. "
            "Scale it; distances and losses also take float64 tensors."
        )
        raise located(at(int(np.argmax(too_large))), message, NonFiniteError)
    return rows


def _worst_row(samples: Sequence[object], at: Callable[[int], str]) -> InvalidFieldsError:
    """Find the first sample that keeps the others from being the rows of a matrix."""
    rows = [sample.tolist() if isinstance(sample, Tensor) else sample for sample in samples]
    first = len(rows[0]) if isinstance(rows[0], list) else 0
    for row, sample in enumerate(rows):
        if not isinstance(sample, list) or not sample or not all(_is_number(value) for value in sample):
            message = "It is neither a vector (a list of numbers) nor an image (a data URI or base64)."
            return located(at(row), message)
        if len(sample) != first:
            message = (
                f"It has {len(sample)} numbers and the first sample has {first}. "
                "All samples of a request need the same dimension."
            )
            return located(at(row), message, ShapeError)
    return located(at(0), "The vectors hold numbers beyond what float32 can hold.", NonFiniteError)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
