"""Items read: listed page by page, and one by one."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from service.api.answering import answers, render, respond
from service.api.gallery_schemas import CollectionName, ItemAnswer, ItemsPage
from service.api.problems import PROBLEM_RESPONSES
from service.api.state import ServicesDep
from service.errors import NotFoundError
from service.gallery.collection import StoredItem

__all__ = ["ItemId", "no_item", "router"]

router = APIRouter(prefix="/v1/collections/{collection}/items", tags=["items"], responses=PROBLEM_RESPONSES)

ItemId = Annotated[str, Path(min_length=1, max_length=256, description="The item's id.")]
Include = Annotated[Literal["vector"] | None, Query(description="vector: bring it along.")]


@router.get("", response_model=ItemsPage, responses=answers(ItemsPage))
async def list_items(
    request: Request,
    collection: CollectionName,
    services: ServicesDep,
    identity: Annotated[str | None, Query(description="Only this identity's items.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="The last page's cursor.")] = None,
    include: Include = None,
) -> Response:
    """List items in the order of writing, page by page; those that cannot be read are named."""

    def page() -> Response:
        found = services.gallery.get(collection).page(
            limit=limit,
            identity=identity or None,
            cursor=cursor or None,
            with_vector=include == "vector",
        )
        answer = {"items": [_item(one) for one in found.items], "cursor": found.cursor}
        return render(request, {**answer, "damaged": [*found.damaged]})

    return await services.store(page)


@router.get("/{item_id}", response_model=ItemAnswer, responses=answers(ItemAnswer))
async def get_item(
    request: Request,
    collection: CollectionName,
    item_id: ItemId,
    services: ServicesDep,
    include: Include = None,
) -> Response:
    """Return one item."""
    found = await services.store(
        lambda: services.gallery.get(collection).get(item_id, with_vector=include == "vector")
    )
    if found is None:
        raise no_item(collection, item_id)
    return await respond(request, _item(found))


@router.get(
    "/{item_id}/image",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_image(collection: CollectionName, item_id: ItemId, services: ServicesDep) -> Response:
    """Return the small picture of an item, a JPEG, where the collection keeps them (`keep_images`)."""

    def read() -> bytes:
        target = services.gallery.get(collection)
        jpeg = target.picture(item_id)
        if jpeg is not None:
            return jpeg
        if target.get(item_id) is None:
            raise no_item(collection, item_id)
        kept = (
            "was enrolled as a vector" if target.config.keep_images else "is in a collection that keeps none"
        )
        raise NotFoundError(f"The item {item_id!r} has no picture: it {kept}.")

    return Response(await services.store(read), media_type="image/jpeg")


def _item(stored: StoredItem) -> dict[str, Any]:
    item = {"id": stored.id, "identity": stored.identity, "metadata": stored.metadata}
    return item if stored.vector is None else {**item, "vector": stored.vector}


def no_item(collection: str, item_id: str) -> NotFoundError:
    """Return the error of an item that is not there."""
    return NotFoundError(f"The collection {collection!r} has no item {item_id!r}.")
