"""Is it alive, and can it answer?"""

import contextlib
import time
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from models.errors import LookalikeError
from service.api.problems import PROBLEM_RESPONSES
from service.api.schemas import HealthAnswer
from service.api.state import Services, ServicesDep
from service.errors import CollectionDroppedError, NotReadyError
from service.gallery.collection import SearchOptions

__all__ = ["router"]

router = APIRouter(prefix="/health", tags=["operations"])


@router.get(
    "/live",
    response_model=HealthAnswer,
    response_model_exclude_none=True,
    responses={503: PROBLEM_RESPONSES[503]},
)
async def live(services: ServicesDep) -> dict[str, Any]:
    """Answer as long as the process can serve; 503 where only a new one can."""
    if failures := services.encoders.failures():
        raise NotReadyError(" ".join(failures.values()))
    return {"status": "alive"}


@router.get(
    "/ready",
    response_model=HealthAnswer,
    response_model_exclude_none=True,
    responses={503: PROBLEM_RESPONSES[503]},
)
async def ready(request: Request, services: ServicesDep) -> dict[str, Any]:
    """Run a real encode and a real search; 503 where one fails, until all is open, and while it stops."""
    if request.app.state.drain.is_set():
        raise NotReadyError("The server is stopping. Send requests to another.")
    services.gallery.refuse_while_opening()
    started = time.perf_counter()
    try:
        for hosted in services.encoders.all():
            await hosted.check()
        encoded = time.perf_counter()
        collections = await services.store(lambda: _search_somewhere(services))
    except LookalikeError as error:
        raise NotReadyError(f"The service cannot answer: {error}") from error
    searched = time.perf_counter()
    return {
        "status": "ready",
        "encoder": services.encoder.name,
        "collections": collections,
        "encode_ms": round((encoded - started) * 1000, 2),
        "search_ms": round((searched - encoded) * 1000, 2),
    }


def _search_somewhere(services: Services) -> int:
    """Search the first collection that is not dropped meanwhile, if any, and return how many there are."""
    collections = services.gallery.list()
    for collection in collections:
        query = np.full((1, collection.config.dimension), 0.5, dtype=np.float32)
        with contextlib.suppress(CollectionDroppedError):
            collection.search(query, SearchOptions(k=1))
            break
    return len(collections)
