"""Collections: made, described, dropped."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response, status

from models.errors import OptionError
from service.api.gallery_schemas import CollectionAnswer, CollectionRequest, CollectionsAnswer, DeletedAnswer
from service.api.problems import PROBLEM_RESPONSES
from service.api.state import Services, ServicesDep
from service.api.wire import accepts, body
from service.gallery.collection import Collection, CollectionConfig

__all__ = ["CollectionName", "router"]

router = APIRouter(prefix="/v1/collections", tags=["collections"], responses=PROBLEM_RESPONSES)

CollectionName = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="The collection's name.")
]


@router.get("", response_model=CollectionsAnswer)
async def list_collections(services: ServicesDep) -> dict[str, Any]:
    """Describe all collections, by name."""
    described = await services.store(lambda: [_describe(one) for one in services.gallery.list()])
    return {"collections": described}


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
    made, created = await services.store(lambda: services.gallery.create(collection, config))
    response.status_code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
    return await services.store(lambda: _describe(made))


@router.get("/{collection}", response_model=CollectionAnswer)
async def describe_collection(collection: CollectionName, services: ServicesDep) -> dict[str, Any]:
    """Describe a collection: its items, its index, its bytes on disk and in memory."""
    return await services.store(lambda: _describe(services.gallery.get(collection)))


@router.delete("/{collection}", response_model=DeletedAnswer)
async def drop_collection(collection: CollectionName, services: ServicesDep) -> dict[str, Any]:
    """Delete a collection with all its items; `deleted` tells how many there were."""

    def drop() -> int:
        items = services.gallery.get(collection).stats().items
        services.gallery.drop(collection)
        return items

    return {"deleted": await services.store(drop)}


def _config(wanted: CollectionRequest, services: Services) -> CollectionConfig:
    """Fill in what the request leaves out: with a dimension alone no encoder, else the hosted one."""
    if wanted.encoder is None and wanted.dimension is not None:
        return CollectionConfig(
            dimension=wanted.dimension,
            metric=wanted.metric or "euclidean",
            index_type=wanted.index.type,
            fields=wanted.fields,
        )
    manifest = services.encoder_named(wanted.encoder).manifest
    if wanted.dimension not in (None, manifest.dimension):
        raise OptionError(
            f"The encoder {manifest.name!r} gives {manifest.dimension} dimensions, not {wanted.dimension}. "
            "Leave `dimension` out, or `encoder` for a collection of vectors only.",
            argument="dimension",
        )
    return CollectionConfig(
        dimension=manifest.dimension,
        metric=wanted.metric or manifest.metric,
        index_type=wanted.index.type,
        fields=wanted.fields,
        encoder=manifest.name,
        fingerprint=manifest.fingerprint,
    )


def _describe(collection: Collection) -> dict[str, Any]:
    config, stats = collection.config, collection.stats()
    return {
        "name": collection.name,
        "dimension": config.dimension,
        "metric": config.metric,
        "encoder": config.encoder,
        "fingerprint": config.fingerprint,
        "fields": dict(config.fields),
        "keep_images": False,
        "index": {"type": config.index_type, "state": "ready"},
        "items": stats.items,
        "disk_bytes": stats.disk_bytes,
        "memory_bytes": stats.memory_bytes,
    }
