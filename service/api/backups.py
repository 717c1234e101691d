"""Backups of the running server, for operators: made, looked at, restored from, deleted."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response, status

from service.api.backup_schemas import BackupAnswer, BackupName, BackupRequest, BackupsAnswer, RestoreRequest
from service.api.collections import describe
from service.api.gallery_schemas import CollectionAnswer
from service.api.problems import PROBLEM_RESPONSES
from service.api.security import OperatorDep
from service.api.state import ServicesDep
from service.api.wire import accepts, body
from service.gallery.backup_jobs import Backup

__all__ = ["router"]

router = APIRouter(prefix="/v1/backups", tags=["backups"], responses=PROBLEM_RESPONSES)


@router.post(
    "",
    response_model=BackupAnswer,
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=accepts(BackupRequest, required=False),
)
async def make_backup(
    wanted: Annotated[BackupRequest, Depends(body(BackupRequest))],
    services: ServicesDep,
    response: Response,
    _: OperatorDep,
) -> dict[str, Any]:
    """Begin a backup, each collection as of one moment, and answer at once; one is made at a time."""
    begun = await services.store(lambda: services.backups.start(wanted.name, wanted.collections))
    response.headers["Location"] = f"/v1/backups/{begun.name}"
    return _describe(begun)


@router.get("", response_model=BackupsAnswer)
async def list_backups(services: ServicesDep, _: OperatorDep) -> dict[str, Any]:
    """Describe all backups, by name, the one that is being made and the last that failed among them."""
    return {"backups": [_describe(one) for one in await services.store(services.backups.list)]}


@router.get("/{backup}", response_model=BackupAnswer)
async def describe_backup(backup: BackupName, services: ServicesDep, _: OperatorDep) -> dict[str, Any]:
    """Tell how a backup stands, and once it is done which collections are in it."""
    found = await services.store(lambda: services.backups.get(backup))
    listed = [
        {
            "name": name,
            "items": content.items,
            "bytes": content.bytes,
            "damaged": content.damaged,
            "damaged_ids": content.damaged_ids,
        }
        for name, content in sorted(found.contents.items())
    ]
    return {**_describe(found), "contents": listed if found.state == "done" else None}


@router.delete("/{backup}", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
async def delete_backup(backup: BackupName, services: ServicesDep, _: OperatorDep) -> None:
    """Delete a backup; one that is being made is given up."""
    await services.store(lambda: services.backups.delete(backup))


@router.post(
    "/{backup}/restore",
    response_model=CollectionAnswer,
    status_code=status.HTTP_201_CREATED,
    openapi_extra=accepts(RestoreRequest),
)
async def restore_collection(
    backup: BackupName,
    wanted: Annotated[RestoreRequest, Depends(body(RestoreRequest))],
    services: ServicesDep,
    response: Response,
    _: OperatorDep,
) -> dict[str, Any]:
    """Make a new collection of one in a backup, beside what there is; answers when it can be searched."""

    def restore() -> dict[str, Any]:
        return describe(services.backups.restore(backup, wanted.collection, wanted.into))

    restored = await services.store(restore)
    response.headers["Location"] = f"/v1/collections/{wanted.into}"
    return restored


def _describe(backup: Backup) -> dict[str, Any]:
    return {
        "name": backup.name,
        "state": backup.state,
        "collections": backup.collections,
        "collections_done": backup.kept.collections,
        "items": backup.kept.items,
        "bytes": backup.kept.bytes,
        "damaged": backup.kept.damaged,
        "began": backup.began,
        "made": backup.made,
        "problem": backup.problem,
    }
