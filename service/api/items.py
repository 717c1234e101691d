"""Items: enrolled and deleted."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from torch import Tensor

from models.errors import ImageError, InputError, LowQualityError, OptionError, ShapeError
from models.faces import shortfall
from service.api.answering import answers, render, respond
from service.api.attended import deadline_of
from service.api.direct import DirectRoute
from service.api.faces import seen_fields
from service.api.gallery_schemas import (
    NAME_IN_PATH,
    BadItem,
    CollectionName,
    DeletedAnswer,
    DeleteItemsRequest,
    ItemBody,
    ItemsAnswer,
    ItemsRequest,
    path_name,
)
from service.api.item_reading import ItemId, no_item
from service.api.item_rows import VectorRow, metadata_in
from service.api.problems import PROBLEM_RESPONSES, problem_of
from service.api.samples import see_all
from service.api.state import Services, ServicesDep, services_of
from service.api.validation import pointer_of
from service.api.wire import accepts, body, body_bytes
from service.errors import EncoderMismatchError, InvalidFieldsError
from service.gallery.collection import (
    ANOTHER_REJECTED,
    Collection,
    NewItem,
    Vectors,
    Written,
)
from service.gallery.filters import parse_filter
from service.gallery.pauses import FEW_ITEMS
from service.gallery.pictures import LONGER_SIDE
from service.jobs import Look
from service.seen import Seen

__all__ = ["router"]

_SMALL_BYTES = 64 * 1024  # of the body of few items: they are read on the event loop
_LOOK_S, _MOST_S = 0.05, 3.0  # it has its turn at last, whatever keeps the others

_read = body(ItemsRequest, image="image", kept=metadata_in)

router = APIRouter(prefix="/v1/collections/{collection}/items", tags=["items"], responses=PROBLEM_RESPONSES)


@dataclass(frozen=True, slots=True)
class Fault:
    """What keeps an item from having a vector: the field at fault, a sentence, and the kind of error."""

    field: str | None
    reason: str
    kind: type[Exception]


@dataclass(frozen=True, slots=True)
class _Ready:
    """An item's vector, or why it has none; what is kept of its picture, and what the answer says of it."""

    vector: Vectors | Fault
    picture: bytes | None = None
    seen: dict[str, Any] = field(default_factory=dict)


async def upsert_items(request: Request) -> Response:
    """Enrol items by id. When this has answered, they are durable and searchable.

    A bad item is rejected with its reason, and the good ones are kept (`on_error: abort` keeps none).
    Where none could be kept the answer is a problem, which has `items` too.
    """
    services = services_of(request)
    name = path_name(request)
    wanted = await _read(request)
    target = services.gallery.get(name)
    await _give_way(request, target, len(wanted.items))
    ready = await _ready_items(request, wanted, target, services)
    vectors = [one.vector for one in ready]
    abort = wanted.on_error == "abort"
    if abort and any(isinstance(vector, Fault) for vector in vectors):
        written = [_not_written(item, vector) for item, vector in zip(wanted.items, vectors, strict=True)]
    else:
        written = await services.store(lambda: _write(target, wanted.items, ready, all_or_none=abort))
    if all(one.status == "rejected" for one in written):
        return problem_of(request, _rejection(written, vectors), extensions=_tally(written, ready))
    if len(written) <= FEW_ITEMS:
        return render(request, _tally(written, ready))
    return await respond(request, _tally(written, ready))


router.add_api_route(
    "",
    upsert_items,
    methods=["POST"],
    response_model=ItemsAnswer,
    responses=answers(ItemsAnswer),
    openapi_extra={**accepts(ItemsRequest, image="image"), "parameters": [NAME_IN_PATH]},
    route_class_override=DirectRoute,
)


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


@router.delete("/{item_id}", response_model=DeletedAnswer)
async def delete_item(collection: CollectionName, item_id: ItemId, services: ServicesDep) -> dict[str, Any]:
    """Delete one item."""
    deleted = await services.store(lambda: services.gallery.get(collection).delete([item_id]))
    if not deleted:
        raise no_item(collection, item_id)
    return {"deleted": deleted}


async def _give_way(request: Request, target: Collection, items: int) -> None:
    """Let searches go before a large write, as its predecessors slow them: for some seconds at most."""
    if items <= FEW_ITEMS:
        return
    left_s = deadline_of(request) - asyncio.get_running_loop().time()
    left_s = min(_MOST_S, left_s / 2)  # it needs some itself
    for _ in range(int(left_s / _LOOK_S)):
        if not target.crowded():
            return
        await asyncio.sleep(_LOOK_S)


async def _ready_items(
    request: Request, wanted: ItemsRequest, target: Collection, services: Services
) -> list[_Ready]:
    """Return each item's vector, or why it has none: pictures embedded, numbers as float32."""
    items: Sequence[ItemBody | VectorRow | BadItem] = wanted.items
    limits = target.config.quality
    pictures = [item.image for item in items if isinstance(item, ItemBody) and item.image is not None]
    few = len(items) <= FEW_ITEMS and body_bytes(request) <= _SMALL_BYTES
    ready = [*map(_ready, items)] if few else await services.store(lambda: [*map(_ready, items)])
    if not pictures and wanted.faces is None:
        return [_Ready(one) for one in ready if one is not None]
    try:
        encoder = services.encoder_of(target)
    except (OptionError, EncoderMismatchError) as error:
        if wanted.faces is not None or not any(isinstance(one, np.ndarray) for one in ready):
            raise  # it is the request's: none of its items could be kept
        fault = Fault("image", str(error), type(error))
        return [_Ready(fault if one is None else one) for one in ready]
    measured = bool(limits) or "quality" in wanted.include
    side = LONGER_SIDE if target.config.keep_images else None
    look = encoder.for_one(Look(wanted.faces, quality=measured, thumbnail=side))
    seen = iter(await see_all(request, pictures, encoder, look))
    return [_picture(next(seen), limits) if one is None else _Ready(one) for one in ready]


def _ready(item: ItemBody | VectorRow | BadItem) -> Vectors | Fault | None:
    """Return what can be said of an item without the encoder: None where it has a picture."""
    if isinstance(item, VectorRow):
        return item.vector
    if isinstance(item, BadItem):
        return Fault(item.field, item.reason, InvalidFieldsError)
    return None if item.image is not None else _numbers(item.vector)


def _picture(seen: Seen | ImageError, limits: Mapping[str, float]) -> _Ready:
    """Return the embedding of a picture, or of the face in it, where it is good enough."""
    if isinstance(seen, ImageError):
        return _Ready(Fault("image", str(seen), type(seen)))
    try:
        embedding = seen.one()
    except ImageError as error:
        return _Ready(Fault("image", str(error), type(error)))
    faces, fields = seen.view.faces, seen_fields(seen.view, 0)
    quality = faces[0].quality if faces else seen.view.quality
    reason = None if quality is None else shortfall(quality, limits)
    if reason is not None:
        return _Ready(Fault("image", reason, LowQualityError), seen=fields)
    return _Ready(embedding, seen.view.thumbnail, fields)


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


def _write(
    target: Collection,
    items: Sequence[ItemBody | VectorRow | BadItem],
    ready: Sequence[_Ready],
    *,
    all_or_none: bool,
) -> list[Written]:
    """Write the items that have a vector, and say for each item what became of it; runs in a thread."""
    written = iter(
        target.upsert(
            [
                NewItem(item.id, item.identity, one.vector, item.metadata, one.picture)
                for item, one in zip(items, ready, strict=True)
                if not isinstance(item, BadItem) and isinstance(one.vector, np.ndarray)
            ],
            all_or_none=all_or_none,
        )
    )
    return [
        next(written) if isinstance(one.vector, np.ndarray) else _not_written(item, one.vector)
        for item, one in zip(items, ready, strict=True)
    ]


def _not_written(item: ItemBody | VectorRow | BadItem, vector: Vectors | Fault) -> Written:
    reason = vector.reason if isinstance(vector, Fault) else ANOTHER_REJECTED
    return Written(item.id, item.identity, "rejected", reason)


def _rejection(written: Sequence[Written], vectors: Sequence[Vectors | Fault]) -> InvalidFieldsError:
    """Return the error of a request of which nothing was written."""
    errors: list[tuple[str, str]] = []
    kinds: set[type[Exception]] = set()
    for row, (one, vector) in enumerate(zip(written, vectors, strict=True)):
        if one.reason is None or one.reason == ANOTHER_REJECTED:
            continue
        place = (vector.field,) if isinstance(vector, Fault) and vector.field else ()
        errors.append((pointer_of("items", row, *place), one.reason))
        kinds.add(vector.kind if isinstance(vector, Fault) else InputError)
    pointer, reason = errors[0]
    others = f" ({len(errors)} of {len(written)} items have such faults, and nothing was written.)"
    kind = kinds.pop() if len(kinds) == 1 else InputError
    return InvalidFieldsError(f"{pointer}: {reason}{others if len(written) > 1 else ''}", errors, kind=kind)


def _tally(written: Sequence[Written], ready: Sequence[_Ready]) -> dict[str, Any]:
    """Return what became of the items, what their pictures showed, and how many became what."""
    counts = Counter(one.status for one in written)
    items = [_told(one) | made.seen for one, made in zip(written, ready, strict=True)]
    return {"items": items, **{status: counts[status] for status in ("created", "replaced", "rejected")}}


def _told(one: Written) -> dict[str, Any]:
    """Return what became of an item; of one that was rejected the names may be none that JSON has."""
    if one.reason is None:
        return {"id": one.id, "identity": one.identity, "status": one.status}
    names = {"id": _escaped(one.id), "identity": _escaped(one.identity)}
    return {**names, "status": one.status, "reason": one.reason}


def _escaped(name: str | None) -> str | None:
    return name and name.encode(errors="backslashreplace").decode()
