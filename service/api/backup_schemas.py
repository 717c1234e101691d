"""Requests and answers about backups."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, ConfigDict, Field

from service.api.gallery_schemas import check_name
from service.api.schemas import Answer
from service.api.validation import RequestBody
from service.gallery.names import NAME

__all__ = ["BackupAnswer", "BackupName", "BackupRequest", "BackupsAnswer", "RestoreRequest"]

Name = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"})]

BackupName = Annotated[
    str,
    Path(description="The backup's name.", json_schema_extra={"pattern": f"^{NAME.pattern}$"}),
    AfterValidator(check_name),
]


class BackupRequest(RequestBody):
    """What is backed up; all of it can be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "example"}]})

    name: Name | None = Field(None, description="Of the backup; the time of day if left out.")
    collections: list[Name] | None = Field(None, min_length=1, description="All if left out.")


class RestoreRequest(RequestBody):
    """Which collection of a backup is restored, and as which new one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"collection": "example", "into": "example-before"}]}
    )

    collection: Name = Field(description="In the backup.")
    into: Name = Field(description="Of the new collection; there must be none of that name.")


class BackupContent(Answer):
    """A collection in a backup."""

    name: str
    items: int = Field(description="That can be read.")
    bytes: int
    damaged: int | None = Field(
        description="Items and pictures that are damaged in it, or lost before; null where nobody looked."
    )
    damaged_ids: list[str | None] = Field(description="Of the first of these; null for an id that is lost.")


class BackupAnswer(Answer):
    """A backup and how it stands."""

    name: str
    state: Literal["running", "done", "failed"]
    collections: int = Field(description="How many are in it, or will be.")
    collections_done: int
    items: int = Field(description="That can be read, in what is done.")
    bytes: int = Field(description="Of what is done.")
    damaged: int = Field(description="Items and pictures that are damaged in what is done, or lost before.")
    began: datetime | None
    made: datetime | None = Field(description="When it was done.")
    problem: str | None = Field(description="Why it failed, or what is damaged in it, and what to do.")
    contents: list[BackupContent] | None = Field(
        None, description="Of one that is done and asked for by its name."
    )


class BackupsAnswer(Answer):
    """All backups, by name."""

    backups: list[BackupAnswer]
