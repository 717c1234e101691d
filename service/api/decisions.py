"""Decisions: is a the same as b?"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from models.distances import paired
from models.manifest import Manifest
from service.api.answering import respond
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import resolve
from service.api.schemas import VerifyAnswer, VerifyRequest
from service.api.state import ServicesDep
from service.api.wire import accepts, body
from service.errors import ConflictError
from service.jobs import Look

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["decisions"], responses=PROBLEM_RESPONSES)


@router.post("/verify", response_model=VerifyAnswer, openapi_extra=accepts(VerifyRequest, files=("a", "b")))
async def verify(
    request: Request,
    wanted: Annotated[VerifyRequest, Depends(body(VerifyRequest))],
    services: ServicesDep,
) -> Response:
    """Compare two samples: `verified` where their distance is below the threshold."""
    encoder = services.encoders.named(wanted.model)
    if wanted.threshold is None:
        raise _no_rate(encoder.manifest)
    rows = await resolve(
        request, [wanted.a, wanted.b], encoder, ("/a", "/b").__getitem__, look=Look(wanted.faces)
    )
    metric = wanted.metric or encoder.manifest.metric
    distance = await services.store(lambda: paired(rows[:1], rows[1:], metric).item())
    answer: dict[str, Any] = {
        "distance": distance,
        "threshold": wanted.threshold,
        "verified": distance < wanted.threshold,
        "metric": metric,
    }
    return await respond(request, answer)


def _no_rate(manifest: Manifest) -> ConflictError:
    """Return why a false acceptance rate is refused, and where to find the threshold for it."""
    if manifest.calibration is None:
        known = "has no calibration to take one from; lookalike evaluate measures one on labelled pictures"
    else:
        rates = ", ".join(f"{point['far']:g}" for point in manifest.calibration["thresholds"])
        known = (
            f"is calibrated for the rates {rates}: give the threshold, of {manifest.metric} distances, that "
            "GET /v1/encoders has for one of them"
        )
    return ConflictError(
        f"Verifying takes a threshold and no false acceptance rate. The encoder {manifest.name!r} {known}."
    )
