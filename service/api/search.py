"""Search: who else looks like it?"""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from service.api.answering import answers, respond
from service.api.gallery_schemas import CollectionName
from service.api.problems import PROBLEM_RESPONSES
from service.api.queries import Asked, ask
from service.api.search_schemas import SearchAnswer, SearchRequest
from service.api.state import Services, ServicesDep
from service.api.wire import accepts, body
from service.errors import InvalidFieldsError
from service.gallery.collection import Collection, Match, SearchOptions
from service.gallery.filters import parse_filter
from service.jobs import Look

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
    """Find the nearest items to each query, with exact distances: smaller is closer.

    A photograph is searched with by its face; one without a face has an empty result, which says so.
    """
    if wanted.k > services.settings.max_k:
        message = f"At most {services.settings.max_k:,} are given at once; page through items for all."
        raise InvalidFieldsError(f"/k: {message}", [("/k", message)])
    target = services.gallery.get(collection)
    look = Look(wanted.faces, quality="quality" in wanted.include)
    asked = await ask(request, wanted.queries, target, services, look)
    answer = await services.store(lambda: _search(target, asked, wanted, services))
    return await respond(request, answer)


def _search(target: Collection, asked: Asked, wanted: SearchRequest, services: Services) -> dict[str, Any]:
    """Search and put the answer together; runs in a thread."""
    with_vector = "vector" in wanted.include
    match_bytes = _BYTES_PER_MATCH + (4 * target.config.dimension if with_vector else 0)
    matches = len(asked.vectors) * wanted.k
    if matches * match_bytes > services.settings.max_work_bytes:  # k may be larger than the collection
        matches = len(asked.vectors) * min(wanted.k, target.stats().items)
    services.refuse_beyond_limit(matches * match_bytes, "Send fewer queries at once or ask for a smaller k")
    options = SearchOptions(
        k=wanted.k,
        filter=parse_filter(wanted.filter) if wanted.filter is not None else None,
        group_by=wanted.group_by,
        max_distance=wanted.max_distance,
        with_metadata="metadata" in wanted.include,
        with_vector=with_vector,
    )
    found = iter(
        target.search(asked.vectors, options, leave_out=asked.leave_out) if len(asked.vectors) else []
    )
    results = [
        {
            "decision": None,
            "matches": [] if question.vector is None else [_match(one) for one in next(found)],
            **question.fields,
        }
        for question in asked.questions
    ]
    return {"metric": target.config.metric, "results": results}


def _match(match: Match) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": match.id, "identity": match.identity, "distance": match.distance}
    if match.metadata is not None:
        answer["metadata"] = match.metadata
    if match.vector is not None:
        answer["vector"] = np.asarray(match.vector, dtype=np.float32)
    return answer
