"""What Prometheus reads."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.api.state import ServicesDep

__all__ = ["router"]

router = APIRouter(tags=["operations"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(services: ServicesDep) -> Response:
    """Show counters, waits, sizes and times of each stage, in Prometheus's text form."""
    return Response(generate_latest(services.telemetry.registry), media_type=CONTENT_TYPE_LATEST)
