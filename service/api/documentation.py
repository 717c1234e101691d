"""/openapi.json and /docs, which work without a network: Swagger UI ships with the package."""

import mimetypes
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.backup_schemas import BackupRequest, RestoreRequest
from service.api.gallery_schemas import CollectionRequest, DeleteItemsRequest, ItemsRequest
from service.api.identities import MergeRequest
from service.api.numeric_schemas import BatchLossRequest, DistancesRequest, TripletLossRequest
from service.api.problems import Problem
from service.api.recall_schemas import RecallRequest
from service.api.schemas import EmbeddingsRequest, HostRequest, VerifyRequest
from service.api.search_schemas import SearchRequest

__all__ = ["install"]

_STATIC = Path(__file__).parent / "static" / "swagger-ui"
_REFERENCE = "#/components/schemas/{model}"

# Bodies are read by `wire.body`, which FastAPI cannot see into, so their schemas are added by hand.
_BODIES: tuple[type[BaseModel], ...] = (
    BackupRequest,
    BatchLossRequest,
    CollectionRequest,
    DeleteItemsRequest,
    DistancesRequest,
    EmbeddingsRequest,
    ItemsRequest,
    MergeRequest,
    Problem,
    SearchRequest,
    RecallRequest,
    RestoreRequest,
    TripletLossRequest,
    HostRequest,
    VerifyRequest,
)


def install(app: FastAPI) -> None:
    """Serve the API's description and the page that shows it."""
    mimetypes.init()  # reads files; else the first answer of StaticFiles would, on the event loop
    app.mount("/static/swagger-ui", StaticFiles(directory=_STATIC), name="swagger-ui")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Lookalike API",
            swagger_js_url="/static/swagger-ui/swagger-ui-bundle.js",
            swagger_css_url="/static/swagger-ui/swagger-ui.css",
            swagger_favicon_url="/static/swagger-ui/favicon-32x32.png",
        )

    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]  # FastAPI's documented way


def _schema(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REFERENCE)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas |= bodies["$defs"]
        for unused in ("HTTPValidationError", "ValidationError"):  # answered as problems instead
            schemas.pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema
