"""Queries of several samples as one vector each.

Several samples of one subject: the mean of their vectors. Recommend: with p the mean of the positive examples
and n that of the negative ones, p + (p - n), the strategy that vector databases call average vector (Qdrant's
recommendation API); p where there is no negative one. Under cosine every vector is scaled to length 1 before.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from fastapi import Request

from models.errors import DomainError
from service.api.samples import is_image, resolve
from service.api.search_schemas import (
    ExampleById,
    QueryByExamples,
    QueryById,
    QueryBySample,
    QueryBySamples,
)
from service.api.state import Services
from service.api.validation import pointer_of
from service.errors import InvalidFieldsError
from service.gallery.collection import Collection, StoredItem
from service.gallery.index.rounding import Floats
from service.jobs import Look

__all__ = ["fused"]

_CANCELLED = 1e-6  # of vectors of length 1: the rounding of float32


async def fused(
    request: Request,
    queries: Sequence[object],
    stored: Mapping[str, StoredItem],
    target: Collection,
    services: Services,
    look: Look,
) -> list[object]:
    """Return the queries as one sample each: pictures as they came, all else as vectors.

    Raises:
        InvalidFieldsError: samples that cannot be used, each with its pointer; vectors that cancel out.
        NotFoundError: no stored item of an id.
    """
    parts = [part for position, query in enumerate(queries) for part in _parts(position, query)]
    rows: Floats = np.empty((0, 0))
    if parts:
        samples = [_sample(sample, stored) for _, sample in parts]
        encoder = services.encoder_of(target) if any(map(is_image, samples)) else services.encoder
        resolved = await resolve(request, samples, encoder, lambda row: parts[row][0], look=look)
        rows = resolved.numpy().astype(np.float64)
        if target.config.metric == "cosine":
            rows = _unit(rows, [pointer for pointer, _ in parts])
    single: list[object] = []
    at = 0
    for query in queries:
        if isinstance(query, QueryBySamples):
            count = len(query.samples)
            single.append(rows[at : at + count].mean(axis=0).tolist())
            at += count
        elif isinstance(query, QueryByExamples):
            middle, end = at + len(query.positive), at + len(query.positive) + len(query.negative)
            liked = rows[at:middle].mean(axis=0)
            single.append((2 * liked - rows[middle:end].mean(axis=0) if query.negative else liked).tolist())
            at = end
        else:
            single.append(_sample(query.sample if isinstance(query, QueryBySample) else query, stored))
    if target.config.metric == "cosine":
        _refuse_cancelled(queries, single)
    return single


def _refuse_cancelled(queries: Sequence[object], single: Sequence[object]) -> None:
    """Refuse queries of several samples that leave no direction but that of rounding."""
    message = "Its samples cancel each other out: they leave no direction, which cosine needs."
    errors = [
        (pointer_of("queries", position), message)
        for position, query in enumerate(queries)
        if isinstance(query, (QueryBySamples, QueryByExamples))
        and float(np.linalg.norm(np.asarray(single[position], np.float64))) <= _CANCELLED
    ]
    if errors:
        raise InvalidFieldsError(f"{errors[0][0]}: {message}", errors, kind=DomainError)


def _parts(position: int, query: object) -> Iterator[tuple[str, object]]:
    """Yield the samples of a query that has several, each with its pointer."""
    if isinstance(query, QueryBySamples):
        named = [("samples", query.samples)]
    elif isinstance(query, QueryByExamples):
        named = [("positive", query.positive), ("negative", query.negative)]
    else:
        named = []
    for name, samples in named:
        for place, sample in enumerate(samples):
            yield pointer_of("queries", position, name, place), sample


def _sample(sample: object, stored: Mapping[str, StoredItem]) -> object:
    if isinstance(sample, (QueryById, ExampleById)):
        vector = stored[sample.id].vector
        assert vector is not None  # it was asked for
        return vector.tolist()
    return sample


def _unit(rows: Floats, pointers: Sequence[str]) -> Floats:
    lengths = np.linalg.norm(rows, axis=1)
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        message = "It is zero and has no direction, which cosine needs."
        errors = [(pointers[row], message) for row in zero.tolist()]
        raise InvalidFieldsError(f"{errors[0][0]}: {message}", errors, kind=DomainError)
    unit: Floats = rows / lengths[:, np.newaxis]
    return unit
