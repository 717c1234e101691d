"""Search: who else looks like it?"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from torch import Tensor

from service.api.answering import answers, respond
from service.api.gallery_schemas import CollectionName
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import is_image, resolve
from service.api.search_schemas import QueryById, SearchAnswer, SearchRequest
from service.api.state import Services, ServicesDep
from service.api.validation import pointer_of
from service.api.wire import accepts, body
from service.errors import InvalidFieldsError, NotFoundError
from service.gallery.collection import Collection, Match, SearchOptions, Vectors
from service.gallery.filters import parse_filter

__all__ = ["router"]

# What a match takes on its way to JSON: 250 to 350 bytes were seen. Its vector comes on top; its metadata,
# which may be large, is not counted.
_BYTES_PER_MATCH = 600

router = APIRouter(prefix="/v1/collections", tags=["search"], responses=PROBLEM_RESPONSES)


@router.post(
    "/{collection}/search",
    response_model=SearchAnswer,
    responses=answers(SearchAnswer),
    openapi_extra=accepts(SearchRequest, image="queries"),
)
async def search(
    request: Request,
    collection: CollectionName,
    wanted: Annotated[SearchRequest, Depends(body(SearchRequest, image="queries"))],
    services: ServicesDep,
) -> Response:
    """Find the nearest items to each query, with exact distances: smaller is closer."""
    if wanted.k > services.settings.max_k:
        message = f"At most {services.settings.max_k:,} are given at once; page through items for all."
        raise InvalidFieldsError(f"/k: {message}", [("/k", message)])
    target = services.gallery.get(collection)
    queries, leave_out = await _query_vectors(request, wanted.queries, target, services)
    answer = await services.store(lambda: _search(target, queries, leave_out, wanted, services))
    return await respond(request, answer)


def _search(
    target: Collection,
    queries: Vectors,
    leave_out: Sequence[str | None],
    wanted: SearchRequest,
    services: Services,
) -> dict[str, Any]:
    """Search and put the answer together; runs in a thread."""
    with_vector = "vector" in wanted.include
    match_bytes = _BYTES_PER_MATCH + (4 * target.config.dimension if with_vector else 0)
    matches = len(queries) * wanted.k
    if matches * match_bytes > services.settings.max_work_bytes:  # k may be larger than the collection
        matches = len(queries) * min(wanted.k, target.stats().items)
    services.refuse_beyond_limit(matches * match_bytes, "Send fewer queries at once or ask for a smaller k")
    options = SearchOptions(
        k=wanted.k,
        filter=parse_filter(wanted.filter) if wanted.filter is not None else None,
        group_by=wanted.group_by,
        max_distance=wanted.max_distance,
        with_metadata="metadata" in wanted.include,
        with_vector=with_vector,
    )
    found = target.search(queries, options, leave_out=leave_out)
    results = [{"decision": None, "matches": [_match(one) for one in matches]} for matches in found]
    return {"metric": target.config.metric, "results": results}


async def _query_vectors(
    request: Request, queries: Tensor | Sequence[object], target: Collection, services: Services
) -> tuple[Vectors, list[str | None]]:
    """Return the queries as (Q, D) float32, and for each the stored id that it must not find."""
    if isinstance(queries, Tensor):
        rows = await resolve(request, queries, services.encoder, lambda row: pointer_of("queries", row))
        return await services.store(lambda: rows.float().numpy()), [None] * len(rows)
    pictures = any(is_image(query) for query in queries)
    encoder = services.encoder_of(target) if pictures else services.encoder
    ids = [query.id if isinstance(query, QueryById) else None for query in queries]
    if any(item_id is not None for item_id in ids):
        stored = await services.store(lambda: _stored(ids, target))
        queries = [query if vector is None else vector for query, vector in zip(queries, stored, strict=True)]
    rows = await resolve(request, queries, encoder, lambda row: pointer_of("queries", row))
    return rows.numpy(), ids


def _stored(ids: Sequence[str | None], target: Collection) -> list[list[float] | None]:
    """Return the vectors of the queries that are stored items."""
    vectors: list[list[float] | None] = []
    for item_id in ids:
        item = None if item_id is None else target.get(item_id, with_vector=True)
        if item_id is not None and item is None:
            raise NotFoundError(f"The collection {target.name!r} has no item {item_id!r} to search with.")
        vectors.append(item.vector.tolist() if item and item.vector is not None else None)
    return vectors


def _match(match: Match) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": match.id, "identity": match.identity, "distance": match.distance}
    if match.metadata is not None:
        answer["metadata"] = match.metadata
    if match.vector is not None:
        answer["vector"] = np.asarray(match.vector, dtype=np.float32)
    return answer
