"""Items: enrolled, read, listed, deleted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from torch import Tensor

from models.errors import ImageError, InputError, OptionError, ShapeError
from service.api.collections import CollectionName
from service.api.gallery_schemas import (
    DeletedAnswer,
    DeleteItemsRequest,
    ItemAnswer,
    ItemBody,
    ItemsAnswer,
    ItemsPage,
    ItemsRequest,
)
from service.api.problems import PROBLEM_RESPONSES, problem_of
from service.api.samples import embed_all
from service.api.state import Services, ServicesDep
from service.api.wire import accepts, answers, body, pointer_of, respond
from service.errors import InvalidFieldsError, NotFoundError
from service.gallery.collection import Collection, NewItem, StoredItem, Vectors, Written
from service.gallery.filters import parse_filter

__all__ = ["router"]

router = APIRouter(prefix="/v1/collections/{collection}/items", tags=["items"], responses=PROBLEM_RESPONSES)

ItemId = Annotated[str, Path(min_length=1, max_length=256, description="The item's id.")]


@dataclass(frozen=True, slots=True)
class Fault:
    """What keeps an item from being written: the field at fault, a sentence, and the kind of error."""

    field: str | None
    reason: str
    kind: type[Exception]

    @property
    def place(self) -> tuple[str, ...]:
        """Return the rest of the JSON pointer, below the item."""
        return () if self.field is None else (self.field,)


@router.post(
    "",
    response_model=ItemsAnswer,
    responses=answers(ItemsAnswer),
    openapi_extra=accepts(ItemsRequest, image="image"),
)
async def upsert_items(
    request: Request,
    collection: CollectionName,
    wanted: Annotated[ItemsRequest, Depends(body(ItemsRequest, image="image"))],
    services: ServicesDep,
) -> Response:
    """Enrol items by id. When this has answered, they are durable and searchable.

    A bad item is rejected with its reason, and the good ones are kept (`on_error: abort` keeps none).
    Where none could be kept the answer is a problem, which has `items` too.
    """
    target = await services.store(lambda: services.gallery.get(collection))
    vectors = await _vectors(wanted.items, target, services)
    new = [
        NewItem(item.id, item.identity, vector, item.metadata)
        for item, vector in zip(wanted.items, vectors, strict=True)
        if isinstance(vector, np.ndarray)
    ]
    faults = _faults(vectors, await services.store(lambda: target.check(new)))
    if len(faults) == len(vectors) or (faults and wanted.on_error == "abort"):
        nothing = [_not_written(item, faults.get(row)) for row, item in enumerate(wanted.items)]
        return problem_of(request, _rejection(faults, len(vectors)), extensions=_tally(nothing))
    written = iter(await services.store(lambda: target.upsert(new)))
    results = [
        next(written) if isinstance(vector, np.ndarray) else _not_written(item, faults[row])
        for row, (item, vector) in enumerate(zip(wanted.items, vectors, strict=True))
    ]
    return await respond(request, _tally(results))


@router.get("", response_model=ItemsPage, response_model_exclude_none=False)
async def list_items(
    collection: CollectionName,
    services: ServicesDep,
    identity: Annotated[str | None, Query(description="Only this identity's items.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="The last page's cursor.")] = None,
) -> dict[str, Any]:
    """List items in the order of writing, page by page."""

    def page() -> dict[str, Any]:
        target = services.gallery.get(collection)
        found = target.page(limit=limit, identity=identity, cursor=cursor)
        return {"items": [_item(one) for one in found.items], "cursor": found.cursor}

    return await services.store(page)


@router.post("/delete", response_model=DeletedAnswer, openapi_extra=accepts(DeleteItemsRequest))
async def delete_items(
    collection: CollectionName,
    wanted: Annotated[DeleteItemsRequest, Depends(body(DeleteItemsRequest))],
    services: ServicesDep,
) -> dict[str, Any]:
    """Delete items by their ids or by a filter; `deleted` tells how many there were."""

    def delete() -> int:
        target = services.gallery.get(collection)
        if wanted.ids is not None:
            return target.delete(wanted.ids)
        return target.delete_where(parse_filter(wanted.filter))

    return {"deleted": await services.store(delete)}


@router.get("/{item_id}", response_model=ItemAnswer, responses=answers(ItemAnswer))
async def get_item(
    request: Request,
    collection: CollectionName,
    item_id: ItemId,
    services: ServicesDep,
    include: Annotated[Literal["vector"] | None, Query(description="vector: bring it along.")] = None,
) -> Response:
    """Return one item."""
    found = await services.store(
        lambda: services.gallery.get(collection).get(item_id, with_vector=include == "vector")
    )
    if found is None:
        raise _no_item(collection, item_id)
    return await respond(request, _item(found))


@router.delete("/{item_id}", response_model=DeletedAnswer)
async def delete_item(collection: CollectionName, item_id: ItemId, services: ServicesDep) -> dict[str, Any]:
    """Delete one item."""
    deleted = await services.store(lambda: services.gallery.get(collection).delete([item_id]))
    if not deleted:
        raise _no_item(collection, item_id)
    return {"deleted": deleted}


async def _vectors(
    items: Sequence[ItemBody], target: Collection, services: Services
) -> list[Vectors | Fault]:
    """Return each item's vector, or why it has none: pictures embedded, numbers as float32."""
    pictures = [item.image for item in items if item.image is not None]
    if not pictures:
        return await services.store(lambda: [_numbers(item.vector) for item in items])
    encoder = services.encoder_of(target.name, target.config)
    if encoder is None:
        raise OptionError(
            f"The collection {target.name!r} takes vectors only: it was made with a dimension and "
            "no encoder. Send vectors, or make a collection without `dimension`.",
        )
    embedded = iter(await embed_all(pictures, encoder))
    return [_numbers(item.vector) if item.image is None else _picture(next(embedded)) for item in items]


def _picture(embedded: Vectors | ImageError) -> Vectors | Fault:
    return Fault("image", str(embedded), type(embedded)) if isinstance(embedded, ImageError) else embedded


def _numbers(vector: object) -> Vectors | Fault:
    """Return a vector as (D,) float32; the collection checks dimension and numbers."""
    if isinstance(vector, Tensor):
        vector = vector.float().numpy()
    try:
        array = np.asarray(vector)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "fiu":
        return Fault("vector", "The vector is no list of numbers.", ShapeError)
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which the collection rejects
        return array.astype(np.float32)


def _faults(vectors: Sequence[Vectors | Fault], reasons: Sequence[str | None]) -> dict[int, Fault]:
    """Return what is wrong, by position: with the pictures, and with the items made of the others."""
    found: dict[int, Fault] = {}
    checked = iter(reasons)
    for row, vector in enumerate(vectors):
        if isinstance(vector, Fault):
            found[row] = vector
        elif reason := next(checked):
            found[row] = Fault(None, reason, InputError)
    return found


def _rejection(faults: Mapping[int, Fault], count: int) -> InvalidFieldsError:
    """Return the error of a request of which nothing was written."""
    errors = [(pointer_of("items", row, *fault.place), fault.reason) for row, fault in faults.items()]
    kinds = {fault.kind for fault in faults.values()}
    pointer, reason = errors[0]
    others = (
        f" ({len(faults)} of {count} items have such faults, and nothing was written.)" if count > 1 else ""
    )
    kind = kinds.pop() if len(kinds) == 1 else InputError
    return InvalidFieldsError(f"{pointer}: {reason}{others}", errors, kind=kind)


def _not_written(item: ItemBody, fault: Fault | None) -> Written:
    reason = fault.reason if fault else "Another item of the request was rejected, and on_error is abort."
    return Written(item.id, item.identity, "rejected", reason)


def _tally(written: Sequence[Written]) -> dict[str, Any]:
    """Return what became of the items, and how many became what."""
    counts = Counter(one.status for one in written)
    items = [
        {"id": one.id, "identity": one.identity, "status": one.status}
        | ({"reason": one.reason} if one.reason else {})
        for one in written
    ]
    return {"items": items, **{status: counts[status] for status in ("created", "replaced", "rejected")}}


def _item(stored: StoredItem) -> dict[str, Any]:
    item = {"id": stored.id, "identity": stored.identity, "metadata": stored.metadata}
    return item if stored.vector is None else {**item, "vector": stored.vector}


def _no_item(collection: str, item_id: str) -> NotFoundError:
    return NotFoundError(f"The collection {collection!r} has no item {item_id!r}.")
