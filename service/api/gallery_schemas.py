"""Requests and answers about collections and items."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from fastapi import Path, Request
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from service.api.index_schemas import IndexRequest, IndexState, IntegrityState, UnopenedCollection
from service.api.item_rows import VectorRow, with_items
from service.api.samples import Numbers, Picture
from service.api.schemas import Answer, FaceAnswer, OneFace, QualityAnswer, Words
from service.api.validation import RequestBody, sentence_of
from service.errors import InvalidFieldsError
from service.gallery.fields import FieldType
from service.gallery.names import NAME

__all__ = [
    "NAME_IN_PATH",
    "BadItem",
    "CollectionAnswer",
    "CollectionName",
    "CollectionRequest",
    "CollectionsAnswer",
    "DeleteItemsRequest",
    "DeletedAnswer",
    "FilterBody",
    "ItemAnswer",
    "ItemsAnswer",
    "ItemsPage",
    "ItemsRequest",
    "check_name",
    "path_name",
]


def check_name(name: str) -> str:
    """Return the name, or raise ValueError where no collection or backup can have it."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name; use 1 to 64 letters, digits, '_', '.' or '-'")
    return name


NAME_IN_PATH = {  # as `CollectionName` is described
    "name": "collection",
    "in": "path",
    "required": True,
    "description": "The collection's name.",
    "schema": {"type": "string", "pattern": f"^{NAME.pattern}$"},
}


def path_name(request: Request) -> str:
    """Return the name in a request's path, where the endpoint reads its request by itself.

    Raises:
        InvalidFieldsError: it names no collection.
    """
    try:
        return check_name(request.path_params["collection"])
    except ValueError as error:
        raise InvalidFieldsError(f"/path/collection: {error}", [("/path/collection", str(error))]) from None


CollectionName = Annotated[
    str,
    Path(description="The collection's name.", json_schema_extra={"pattern": f"^{NAME.pattern}$"}),
    AfterValidator(check_name),
]
FilterBody = Annotated[
    dict[str, Any],
    Field(description='Such as {"camera": "c1"}, {"time": {"gte": "2026-01-01"}}, {"not": {...}}.'),
]


Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class QualityLimits(RequestBody):
    """What a picture must meet to be enrolled; for each there is a measure in `include: ["quality"]`."""

    min_size: int | None = Field(None, ge=1, description="Pixels of the shorter side, as it came.")
    min_sharpness: Limit | None = Field(None, description="Variance of the Laplacian.")
    min_brightness: Limit | None = Field(None, le=255, description="Mean of the grey picture.")
    max_brightness: Limit | None = Field(None, le=255, description="Likewise.")
    min_score: Limit | None = Field(None, le=1, description="The detector's, where there is one.")

    @model_validator(mode="after")
    def _can_be_met(self) -> "QualityLimits":
        low, high = self.min_brightness, self.max_brightness
        if low is not None and high is not None and low > high:
            raise ValueError(f"no picture has a brightness of at least {low:g} and at most {high:g}")
        return self

    def limits(self) -> dict[str, float]:
        """Return those that are given, by name."""
        return {name: float(limit) for name, limit in self.model_dump(exclude_none=True).items()}


class CollectionRequest(RequestBody):
    """What the collection is for; all of it can be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"dimension": 2, "metric": "euclidean", "fields": {"camera": "keyword"}}]
        }
    )

    dimension: int | None = Field(
        None, ge=1, le=65_536, description="Of its vectors; alone, without encoder, it takes vectors only."
    )
    metric: Literal["cosine", "euclidean", "inner_product"] | None = Field(
        None, description="The encoder's metric if left out, or euclidean where there is none."
    )
    index: IndexRequest = IndexRequest()
    fields: dict[str, FieldType] = Field({}, max_length=64, description="Declared metadata fields.")
    keep_images: bool = Field(
        False, description="Keep a small picture of each item, 256 pixels at most; else only embeddings are."
    )
    encoder: str | None = Field(None, description="The encoder of its pictures; the hosted one if left out.")
    quality: QualityLimits = Field(QualityLimits(), description="What pictures must meet to be enrolled.")


class CollectionAnswer(Answer):
    """A collection and how it stands."""

    name: str
    dimension: int
    metric: str
    encoder: str | None
    fingerprint: str | None
    fields: dict[str, str]
    quality: dict[str, float]
    keep_images: bool
    index: IndexState
    integrity: IntegrityState
    erasing: bool = Field(description="Whether files may still hold something of an erased identity.")
    items: int
    disk_bytes: int
    memory_bytes: int


class CollectionsAnswer(Answer):
    """All collections, by name."""

    collections: list[CollectionAnswer]
    unopened: list[UnopenedCollection]


class ItemBody(RequestBody):
    """An item: who it is, and a picture or a vector of it."""

    id: str | None = Field(None, description="1 to 256 characters without /; made if left out.")
    identity: str | None = Field(None, min_length=1, max_length=256, description="Who or what it shows.")
    image: Picture | None = None
    vector: Numbers | None = None
    metadata: dict[str, Any] = Field(default={})

    @model_validator(mode="after")
    def _one_of_two(self) -> "ItemBody":
        if (self.image is None) == (self.vector is None):
            raise ValueError("give exactly one of image and vector")
        return self


@dataclass(frozen=True, slots=True)
class BadItem:
    """An item whose fields do not fit: it is rejected alone, and the others are kept."""

    id: str | None
    identity: str | None
    field: str | None
    reason: str


def _item_or_bad(value: Any, validate_item: ValidatorFunctionWrapHandler) -> ItemBody | VectorRow | BadItem:
    if isinstance(value, VectorRow):
        return value
    try:
        item: ItemBody = validate_item(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else None
        known = value if isinstance(value, dict) else {}
        names = (known.get(name) for name in ("id", "identity"))
        item_id, identity = (name if isinstance(name, str) else None for name in names)
        sentence = sentence_of(first, ItemBody)
        return BadItem(item_id, identity, field, f"{field}: {sentence}" if field else sentence)
    return item


class ItemsRequest(RequestBody):
    """Items to write, each by its id."""

    also: ClassVar[str] = (
        "; in a form also image, in safetensors vector, and beside these id, identity, metadata"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {"id": "a1", "identity": "a", "vector": [0, 1], "metadata": {"camera": "c1"}},
                        {"id": "b1", "identity": "b", "vector": [5, 5]},
                    ]
                }
            ]
        }
    )

    items: list[Annotated[ItemBody, WrapValidator(_item_or_bad)]] = Field(min_length=1)
    on_error: Literal["continue", "abort"] = Field(
        "continue", description="Whether the good items are written where others are rejected."
    )
    faces: OneFace = None
    include: Words[Literal["quality"]] = Field([], description="quality: of each crop; faces always have it.")

    @model_validator(mode="before")
    @classmethod
    def _from_columns(cls, fields: Any) -> Any:
        """Take a form's columns (image files, with id, identity and metadata beside them) and tensors."""
        return with_items(fields, cls) if isinstance(fields, dict) else fields


class WrittenItem(Answer):
    """What became of one item."""

    id: str | None
    identity: str | None
    status: Literal["created", "replaced", "rejected"]
    reason: str | None = None
    face: FaceAnswer | None = None
    quality: QualityAnswer | None = None


class ItemsAnswer(Answer):
    """What became of each item, in the order of the request."""

    items: list[WrittenItem]
    created: int
    replaced: int
    rejected: int


class ItemAnswer(Answer):
    """A stored item; its vector as it was given or embedded, where asked for."""

    id: str
    identity: str | None
    metadata: dict[str, Any]
    vector: list[float] | None = None


class ItemsPage(Answer):
    """Some items, with their vectors where asked for, and the cursor of the next ones (null at the end)."""

    items: list[ItemAnswer]
    cursor: str | None
    damaged: list[str | None] = Field(description="Ids of those that cannot be read, null where it is lost.")


class DeleteItemsRequest(RequestBody):
    """Which items to delete: by id, or by a filter."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["b1"]}]})

    ids: list[str] | None = Field(None, min_length=1)
    filter: FilterBody | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_of_two(self) -> "DeleteItemsRequest":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give exactly one of ids and filter, and not an empty one")
        return self


class DeletedAnswer(Answer):
    """How many items were deleted."""

    deleted: int
