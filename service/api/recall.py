"""How good is the index? Measured on request."""

from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request

from service.api.gallery_schemas import CollectionName
from service.api.problems import PROBLEM_RESPONSES
from service.api.recall_schemas import RecallAnswer, RecallRequest
from service.api.samples import is_image, resolve
from service.api.state import Services, ServicesDep
from service.api.validation import pointer_of
from service.api.wire import accepts, body
from service.gallery.collection import Collection, SearchOptions, Vectors
from service.gallery.filters import parse_filter
from service.gallery.options import LeftOut
from service.gallery.recall import Compared, compare, summary

__all__ = ["router"]

_SLICE = 4  # queries; in between, others have their turn at the storage

router = APIRouter(prefix="/v1/collections", tags=["search"], responses=PROBLEM_RESPONSES)


@router.post("/{collection}/recall", response_model=RecallAnswer, openapi_extra=accepts(RecallRequest))
async def measure_recall(
    request: Request,
    collection: CollectionName,
    wanted: Annotated[RecallRequest, Depends(body(RecallRequest))],
    services: ServicesDep,
) -> dict[str, Any]:
    """Compare the index with the exact search. A drawn item is not among what it should find."""
    target = services.gallery.get(collection)
    vectors, left_out = await _queries(request, wanted, target, services)
    options = SearchOptions(
        k=wanted.k, filter=parse_filter(wanted.filter) if wanted.filter is not None else None
    )
    compared: list[Compared] = []
    for at in range(0, len(vectors), _SLICE):
        some, without = vectors[at : at + _SLICE], left_out[at : at + _SLICE]
        compared += await services.attend(request, partial(compare, target, some, options, left_out=without))
    recall, interval = await services.store(partial(summary, compared))
    bounds = interval and {"low": interval.low, "high": interval.high, "level": interval.level}
    return {
        "recall": recall,
        "interval": bounds,
        "k": wanted.k,
        "queries": len(compared),
        "p50_ms": _median([one.ms for one in compared]),
        "exact_p50_ms": _median([one.exact_ms for one in compared]),
    }


async def _queries(
    request: Request, wanted: RecallRequest, target: Collection, services: Services
) -> tuple[Vectors, list[LeftOut]]:
    """Return (Q, D) the vectors to search with, and what each must not find."""
    if wanted.queries is not None:
        pictures = isinstance(wanted.queries, list) and any(map(is_image, wanted.queries))
        encoder = services.encoder_of(target) if pictures else services.encoder
        rows = await resolve(request, wanted.queries, encoder, lambda row: pointer_of("queries", row))
        return rows.float().numpy(), []
    drawn = await services.store(partial(target.draw, wanted.sample, seed=wanted.seed))
    vectors = [item.vector for item in drawn if item.vector is not None]
    if not vectors:
        return np.empty((0, target.config.dimension), np.float32), []
    return np.stack(vectors), [LeftOut(frozenset({item.id})) for item in drawn]


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None
