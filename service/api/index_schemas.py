"""Requests and answers about the index of a collection, and about what is stored."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from service.api.schemas import Answer
from service.api.validation import RequestBody
from service.gallery.indexing import IndexType

__all__ = ["IndexRequest", "IndexState", "IntegrityState", "UnopenedCollection"]


class IndexRequest(RequestBody):
    """How the collection is searched; auto picks by size and memory, and says what and why.

    flat compares with every item. hnsw and ivf find at least 99 of 100 nearest, much faster. Distances are
    exact always.
    """

    type: IndexType = "auto"
    m: int | None = Field(None, description="hnsw: links of an item, 4 to 128; 32 if left out.")
    ef_construction: int | None = Field(None, description="hnsw: how widely links are sought; 80.")
    ef_search: int | None = Field(None, description="hnsw: how widely is searched; measured if left out.")
    nlist: int | None = Field(None, description="ivf: lists; 4 times the root of the items if left out.")
    nprobe: int | None = Field(
        None, description="ivf: lists that are searched, at most nlist; measured if left out."
    )
    quantization: Literal["none", "sq8"] | None = Field(
        None, description="sq8: candidates by codes of a byte a number, which take a quarter of the memory."
    )

    @model_validator(mode="after")
    def _has_so_many_lists(self) -> "IndexRequest":
        lists, searched = self.nlist, self.nprobe
        if self.type == "ivf" and lists is not None and searched is not None and searched > lists:
            raise ValueError(
                f"nprobe is {searched}, and nlist {lists}: of so many lists no more can be searched; "
                "make one larger or the other smaller"
            )
        return self

    def options(self) -> dict[str, Any]:
        """Return the parameters that are given, by name."""
        return self.model_dump(exclude_none=True, exclude={"type"})


class IndexState(Answer):
    """How the index stands; while a new one is built the old one is searched, and what is new is scanned."""

    type: str
    chosen: str
    quantization: str
    why: str
    state: Literal["ready", "building"]
    progress: float | None = Field(None, description="Of what is being built, 0 to 1.")
    sealed: int = Field(description="Items in the last snapshot, deleted ones included.")
    pending: int = Field(description="Items that are not in it yet.")
    dead_share: float = Field(description="Of the snapshot's items.")
    parameters: dict[str, int]
    last_snapshot: datetime | None
    build_s: float | None
    problem: str | None = Field(None, description="Why the last snapshot could not be written.")


class IntegrityState(Answer):
    """How what is stored stands beside its checksums: unchecked is what was not checked since the start."""

    state: Literal["unchecked", "ok", "damaged"]
    checked_at: datetime | None
    rows_checked: int
    damaged: list[str] = Field(
        description="Ids of damaged items, or of items whose pictures are; 100 at most."
    )
    damaged_items: int = Field(description="How many there are.")
    problem: str | None = Field(None, description="What is damaged, and what to do.")


class UnopenedCollection(Answer):
    """A collection that could not be opened when the server started; the others are served."""

    name: str
    detail: str = Field(description="Why, and what to do.")
