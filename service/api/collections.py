"""Collections: made, described, dropped."""

import contextlib
import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response, status

from models.errors import OptionError
from service.api.gallery_schemas import (
    CollectionAnswer,
    CollectionName,
    CollectionRequest,
    CollectionsAnswer,
    DeletedAnswer,
)
from service.api.problems import PROBLEM_RESPONSES
from service.api.state import Services, ServicesDep
from service.api.wire import accepts, body
from service.encoder import HostedEncoder
from service.errors import CollectionDroppedError, NotFoundError
from service.gallery.collection import Collection, CollectionConfig
from service.gallery.gallery import Gallery
from service.gallery.indexing import IndexStats, Integrity

__all__ = ["describe", "router"]

router = APIRouter(prefix="/v1/collections", tags=["collections"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=CollectionsAnswer)
async def list_collections(services: ServicesDep) -> dict[str, Any]:
    """Describe all collections, by name."""
    return await services.store(lambda: _describe_all(services.gallery))


@router.put(
    "/{collection}",
    response_model=CollectionAnswer,
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": CollectionAnswer, "description": "It exists already, with this configuration."}
    },
    openapi_extra=accepts(CollectionRequest, required=False),
)
async def create_collection(
    collection: CollectionName,
    wanted: Annotated[CollectionRequest, Depends(body(CollectionRequest))],
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Make a collection: 201; 200 where it is there already; 409 where it is there otherwise configured."""
    config = _config(wanted, services)

    def create() -> tuple[dict[str, Any], bool]:
        made, created = services.gallery.create(collection, _as_before(config, wanted, collection, services))
        return describe(made), created

    described, created = await services.store(create)
    response.status_code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
    return described


@router.get("/{collection}", response_model=CollectionAnswer)
async def describe_collection(collection: CollectionName, services: ServicesDep) -> dict[str, Any]:
    """Describe a collection: its items, its index, its bytes on disk and in memory."""
    return await services.store(lambda: describe(services.gallery.get(collection)))


@router.delete("/{collection}", response_model=DeletedAnswer)
async def drop_collection(collection: CollectionName, services: ServicesDep) -> dict[str, Any]:
    """Delete a collection with all its items; `deleted` tells how many there were."""
    return {"deleted": await services.store(lambda: services.gallery.drop(collection))}


def _config(wanted: CollectionRequest, services: Services) -> CollectionConfig:
    """Fill in what the request leaves out: with a dimension alone no encoder, else the hosted one."""
    if wanted.encoder is None and wanted.dimension is not None:
        if wanted.keep_images:
            raise OptionError(
                "A collection of vectors only has no pictures to keep. Leave `keep_images` out, or name an "
                "encoder.",
                argument="keep_images",
            )
        return CollectionConfig(
            dimension=wanted.dimension,
            metric=wanted.metric or "euclidean",
            index_type=wanted.index.type,
            index=wanted.index.options(),
            fields=wanted.fields,
            quality=_quality(wanted, None),
        )
    hosted = services.encoders.named(wanted.encoder)
    manifest = hosted.manifest
    if wanted.dimension not in (None, manifest.dimension):
        raise OptionError(
            f"The encoder {hosted.name!r} gives {manifest.dimension} dimensions, not {wanted.dimension}. "
            "Leave `dimension` out, or `encoder` for a collection of vectors only.",
            argument="dimension",
        )
    return CollectionConfig(
        dimension=manifest.dimension,
        metric=wanted.metric or manifest.metric,
        index_type=wanted.index.type,
        index=wanted.index.options(),
        fields=wanted.fields,
        encoder=hosted.name,
        fingerprint=manifest.fingerprint,
        quality=_quality(wanted, hosted),
        keep_images=wanted.keep_images,
    )


def _as_before(
    config: CollectionConfig, wanted: CollectionRequest, collection: str, services: Services
) -> CollectionConfig:
    """Return the configuration with the index that the collection has already, where none is asked for."""
    if "index" in wanted.model_fields_set:
        return config
    try:
        before = services.gallery.get(collection).config
    except NotFoundError:
        return config
    return dataclasses.replace(config, index_type=before.index_type, index=before.index)


def _quality(wanted: CollectionRequest, hosted: HostedEncoder | None) -> dict[str, float]:
    """Return the limits on the quality of its pictures.

    Raises:
        OptionError: it takes no pictures, or no detector gives the scores that are limited.
    """
    limits = wanted.quality.limits()
    if limits and hosted is None:
        raise OptionError(
            "A collection of vectors only has no pictures to measure. "
            "Leave `quality` out, or name an encoder.",
            argument="quality",
        )
    if "min_score" in limits and hosted is not None and hosted.faces is None:
        raise OptionError(
            f"The encoder {hosted.name!r} has no face detector, so there is no score to limit. "
            "Leave `min_score` out.",
            argument="quality",
        )
    return limits


def _describe_all(gallery: Gallery) -> dict[str, Any]:
    described: list[dict[str, Any]] = []
    for collection in gallery.list():
        with contextlib.suppress(CollectionDroppedError):  # meanwhile: then it is not there to describe
            described.append(describe(collection))
    unopened = [{"name": name, "detail": str(error)} for name, error in gallery.unopened().items()]
    return {"collections": described, "unopened": unopened}


def _index(stats: IndexStats) -> dict[str, Any]:
    told = {field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)}
    written = _time(told.pop("snapshot_s"))
    return {**told, "parameters": dict(stats.parameters), "last_snapshot": written}


def _integrity(found: Integrity) -> dict[str, Any]:
    told = dataclasses.asdict(found)
    return {**told, "checked_at": _time(told.pop("checked_s"))}


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def describe(collection: Collection) -> dict[str, Any]:
    """Return what a collection is and how it stands."""
    config, stats = collection.config, collection.stats()
    return {
        "name": collection.name,
        "dimension": config.dimension,
        "metric": config.metric,
        "encoder": config.encoder,
        "fingerprint": config.fingerprint,
        "fields": dict(config.fields),
        "quality": dict(config.quality),
        "keep_images": config.keep_images,
        "index": _index(stats.index),
        "integrity": _integrity(stats.integrity),
        "erasing": stats.erasing,
        "items": stats.items,
        "disk_bytes": stats.disk_bytes,
        "memory_bytes": stats.memory_bytes,
    }
