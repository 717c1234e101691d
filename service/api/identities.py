"""Identities: listed, described, erased, merged."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import ConfigDict, Field

from service.api.gallery_schemas import CollectionName
from service.api.problems import PROBLEM_RESPONSES, problem_of
from service.api.schemas import Answer
from service.api.state import ServicesDep
from service.api.validation import RequestBody
from service.api.wire import accepts, body
from service.errors import NotFoundError
from service.gallery.identities import Identity, Merged

__all__ = ["MergeRequest", "router"]

router = APIRouter(
    prefix="/v1/collections/{collection}/identities", tags=["identities"], responses=PROBLEM_RESPONSES
)

IdentityName = Annotated[str, Path(min_length=1, max_length=256, description="The identity's name.")]


class IdentityAnswer(Answer):
    """An identity: its items, and when the first and the last of them were written."""

    identity: str
    items: int
    first_written: datetime
    last_written: datetime


class DescribedIdentity(IdentityAnswer):
    """An identity, and what of it cannot be read."""

    damaged: list[str | None] = Field(
        description="Ids of damaged items that are its, or of which it is not known whose they are, 100 at "
        "most; null where it is lost."
    )


class IdentitiesPage(Answer):
    """Some identities by name, and the cursor of the next ones (null at the end)."""

    identities: list[IdentityAnswer]
    cursor: str | None


class ErasedAnswer(Answer):
    """How many items were deleted, and whether no file holds anything of them any more."""

    deleted: int
    erased: bool = Field(description="false: that follows; the collection is `erasing` until then.")


class MergeRequest(RequestBody):
    """Whose the items are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"into": "b"}]})

    into: str = Field(min_length=1, max_length=256, description="The identity that they belong to.")


class MergedAnswer(Answer):
    """Whose the items are now, how many were given to it, and which are damaged."""

    identity: str
    merged: int
    damaged: list[str | None] = Field(
        description="Ids of damaged items: left out as before, and erased with that identity. null: lost."
    )


@router.get("", response_model=IdentitiesPage)
async def list_identities(
    collection: CollectionName,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="The last page's cursor.")] = None,
) -> dict[str, Any]:
    """List identities in the order of their names, page by page."""
    found = await services.store(
        lambda: services.gallery.get(collection).identities(limit=limit, cursor=cursor or None)
    )
    return {"identities": [_described(one) for one in found.identities], "cursor": found.cursor}


@router.get("/{identity}", response_model=DescribedIdentity)
async def get_identity(
    request: Request, collection: CollectionName, identity: IdentityName, services: ServicesDep
) -> dict[str, Any] | Response:
    """Describe one identity; its items are at `.../items?identity=`.

    Damaged ones are named, also where none can be read, so that it is not found.
    """

    def described() -> tuple[Identity | None, list[str | None]]:
        target = services.gallery.get(collection)
        return target.identity(identity), [*target.damaged_of(identity)]

    found, damaged = await services.store(described)
    if found is not None:
        return {**_described(found), "damaged": damaged}
    if not damaged:
        raise _no_identity(collection, identity)
    unread = NotFoundError(
        f"The collection {collection!r} has no item of the identity {identity!r} that can be read. Those "
        "in `damaged` are its, or it is not known whose they are; enrol them again, or restore a backup."
    )
    return problem_of(request, unread, extensions={"damaged": damaged})


@router.delete("/{identity}", response_model=ErasedAnswer)
async def erase_identity(
    collection: CollectionName, identity: IdentityName, services: ServicesDep
) -> dict[str, Any]:
    """Delete all items of an identity, and whatever any file holds of them."""
    erased = await services.store(lambda: services.gallery.get(collection).erase(identity))
    if not erased.deleted:
        raise _no_identity(collection, identity)
    return {"deleted": erased.deleted, "erased": erased.erased}


@router.post("/{identity}/merge", response_model=MergedAnswer, openapi_extra=accepts(MergeRequest))
async def merge_identity(
    collection: CollectionName,
    identity: IdentityName,
    wanted: Annotated[MergeRequest, Depends(body(MergeRequest))],
    services: ServicesDep,
) -> dict[str, Any]:
    """Give all items of an identity to another, which need not be there; then there is no such identity.

    Damaged ones are named: they are left out as before.
    """

    def merge() -> Merged:
        target = services.gallery.get(collection)
        merged = target.merge(identity, wanted.into)
        if not merged.items and not merged.damaged and target.identity(identity) is None:
            raise _no_identity(collection, identity)
        return merged

    merged = await services.store(merge)
    return {"identity": wanted.into, "merged": merged.items, "damaged": merged.damaged}


def _described(found: Identity) -> dict[str, Any]:
    return {
        "identity": found.name,
        "items": found.items,
        "first_written": _time(found.first_us),
        "last_written": _time(found.last_us),
    }


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)


def _no_identity(collection: str, identity: str) -> NotFoundError:
    return NotFoundError(f"The collection {collection!r} has no identity {identity!r}.")
