"""Search: who else looks like it?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import orjson
from anyio import to_thread
from fastapi import APIRouter, Request, Response

from service.api.answering import answers, render
from service.api.direct import DirectRoute
from service.api.gallery_schemas import NAME_IN_PATH, path_name
from service.api.problems import PROBLEM_RESPONSES
from service.api.queries import Asked, Question, ask
from service.api.search_schemas import SearchAnswer, SearchRequest
from service.api.state import is_alone, services_of
from service.api.wire import accepts, body, body_bytes
from service.errors import InvalidFieldsError
from service.gallery.collection import Collection, Match, SearchOptions
from service.gallery.filters import parse_filter
from service.gallery.named_matches import NamedResults
from service.gallery.reranking import search_reranked
from service.gallery.searcher import Found
from service.jobs import Look

__all__ = ["router"]

# What a match takes on its way to JSON: 300 bytes were seen, and with safetensors, where that is text in a
# header, 1,000. Its vector comes on top; its metadata, which may be large, is not counted.
_BYTES_PER_MATCH = 600

_INLINE_FILTER_BYTES = 8 * 1024  # of the body around it: parsed faster than a thread is woken

_read = body(SearchRequest, image="queries")

_usual = lru_cache(maxsize=64)(SearchOptions)  # most searches of an application are alike

router = APIRouter(prefix="/v1/collections", tags=["search"], responses=PROBLEM_RESPONSES)


async def search(request: Request) -> Response:
    """Find the nearest items to each query, with exact distances: smaller is closer.

    A photograph is searched with by its face; one without a face has an empty result, which says so.
    """
    services = services_of(request)
    name = path_name(request)
    wanted = await _read(request)
    if wanted.k > services.settings.max_k:
        message = f"At most {services.settings.max_k:,} are given at once; page through items for all."
        raise InvalidFieldsError(f"/k: {message}", [("/k", message)])
    target = services.gallery.get(name)
    look = Look(wanted.faces, quality="quality" in wanted.include)
    asked = await ask(request, wanted, target, services, look)
    small = wanted.filter is None or body_bytes(request) <= _INLINE_FILTER_BYTES
    options = _options(wanted) if small else await services.store(lambda: _options(wanted))
    matches, match_bytes = _most_matches(target, asked, wanted)
    if matches * match_bytes > services.settings.max_work_bytes:  # k may be larger than the collection
        items = await services.store(lambda: target.stats().items)
        matches = min(matches, len(asked.vectors) * items)
        services.refuse_beyond_limit(
            matches * match_bytes, "Send fewer queries at once or ask for a smaller k"
        )

    def answer(found: Found, rerank_ms: float | None = None) -> Response:
        return render(request, _answer(target, asked, found, rerank_ms))

    if wanted.rerank is not None:
        how = wanted.rerank.options(wanted.k)
        return await services.attend(
            request,
            lambda: answer(*search_reranked(target, asked.vectors, options, how, left_out=asked.left_out)),
        )
    search_with = partial(
        services.searcher.search, target, asked.vectors, options, asked.left_out, alone=is_alone(request)
    )
    if asked.questions is None or len(asked.questions) == len(asked.vectors):
        return await search_with(then=answer)
    # Pictures that there is nothing to search with say why at length, and any number of them may come.
    found: Found = await search_with(then=_as_found) if len(asked.vectors) else []
    return await to_thread.run_sync(answer, found)


router.add_api_route(
    "/{collection}/search",
    search,
    methods=["POST"],
    response_model=SearchAnswer,
    responses=answers(SearchAnswer),
    openapi_extra={**accepts(SearchRequest, image="queries"), "parameters": [NAME_IN_PATH]},
    route_class_override=DirectRoute,
)


def _options(wanted: SearchRequest) -> SearchOptions:
    """Return how to search."""
    options = _usual(
        k=wanted.k,
        group_by=wanted.group_by,
        max_distance=wanted.max_distance,
        with_metadata="metadata" in wanted.include,
        with_vector="vector" in wanted.include,
        exact=wanted.exact,
    )
    return options if wanted.filter is None else replace(options, filter=parse_filter(wanted.filter))


def _most_matches(target: Collection, asked: Asked, wanted: SearchRequest) -> tuple[int, int]:
    """Return how many matches there may be, and how many bytes each may take."""
    held = "vector" in wanted.include or wanted.rerank is not None
    match_bytes = _BYTES_PER_MATCH + (4 * target.config.dimension if held else 0)
    each = max(wanted.k, wanted.rerank.options(wanted.k).top if wanted.rerank else 0)
    return len(asked.vectors) * each, match_bytes


def _answer(target: Collection, asked: Asked, found: Found, rerank_ms: float | None) -> dict[str, Any]:
    """Put the answer together."""
    answer = {"metric": target.config.metric, "results": _results(asked.questions, found)}
    return answer if rerank_ms is None else {**answer, "rerank_ms": rerank_ms}


def _results(questions: Sequence[Question] | None, found: Found) -> list[Any]:
    """Return what is found for each question, and what else there is to say about it."""
    if isinstance(found, NamedResults):
        if questions is None:
            parts = found.json_parts(b'{"decision":null,"matches":', b"}")
            return [orjson.Fragment(part) for part in parts]
        each: Iterator[Any] = (
            orjson.Fragment(part) for at in range(len(found)) for part in found[at : at + 1].json_parts()
        )
    else:
        each = ([_match(match) for match in matches] for matches in found)
    if questions is None:
        return [{"decision": None, "matches": matches} for matches in each]
    return [
        {"decision": None, "matches": [] if question.vector is None else next(each), **question.fields}
        for question in questions
    ]


def _as_found(found: Found) -> Found:
    return found


def _match(match: Match) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": match.id, "identity": match.identity, "distance": match.distance}
    if match.rerank_distance is not None:
        answer["rerank_distance"] = match.rerank_distance
    if match.metadata is not None:
        answer["metadata"] = match.metadata
    if match.vector is not None:
        answer["vector"] = np.asarray(match.vector, dtype=np.float32)
    return answer
