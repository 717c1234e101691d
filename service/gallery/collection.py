"""What a collection is: the Protocol that every gallery backend keeps, and its vocabulary."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from models.faces import LIMITS
from service.errors import InvalidFieldsError
from service.gallery.fields import BUILT_IN_FIELDS, FieldType
from service.gallery.filters import Filter
from service.gallery.identities import Identities
from service.gallery.indexing import CollectionStats, IndexType, wrong_options
from service.gallery.options import LeftOut

__all__ = [
    "ANOTHER_REJECTED",
    "Collection",
    "CollectionConfig",
    "CollectionMetric",
    "Match",
    "NewItem",
    "Page",
    "SearchOptions",
    "StoredItem",
    "Vectors",
    "Written",
]

Vectors: TypeAlias = npt.NDArray[np.float32]
CollectionMetric: TypeAlias = Literal["cosine", "euclidean", "inner_product"]

ANOTHER_REJECTED = "Another item was rejected, and all were to be written or none."

MAX_DIMENSION = 65_536
MAX_FIELDS = 64  # each is a column and an index of the record
_RESERVED_FIELDS = frozenset({*BUILT_IN_FIELDS, "and", "or", "not"})


@dataclass(frozen=True, slots=True)
class CollectionConfig:
    """What a collection is made for; fixed when it is created.

    Attributes:
        dimension: D of its vectors.
        metric: its distance; inner_product means -<x, y>, so that smaller is closer there too.
        index_type: how it is searched; auto picks by size and memory.
        index: its parameters by the field's names, as far as they were given; see `indexing.INDEX_OPTIONS`.
        fields: declared metadata fields and their types.
        encoder: the name of the encoder of its images, or None where it takes vectors only.
        fingerprint: that encoder's fingerprint, or None likewise.
        quality: limits that its pictures must meet, by the names in `models.faces.LIMITS`.
        keep_images: whether a small picture of each item stays with it.

    Raises:
        InvalidFieldsError: a value that no collection can have.
    """

    dimension: int
    metric: CollectionMetric
    index_type: IndexType = "flat"
    index: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    encoder: str | None = None
    fingerprint: str | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    keep_images: bool = False

    def __post_init__(self) -> None:
        wrong: list[tuple[str, str]] = []
        if not 1 <= self.dimension <= MAX_DIMENSION:
            wrong.append(("/dimension", f"must be 1 to {MAX_DIMENSION}, not {self.dimension}"))
        if self.metric not in get_args(CollectionMetric):
            wrong.append(("/metric", f"must be one of {', '.join(get_args(CollectionMetric))}"))
        if self.index_type not in get_args(IndexType):
            wrong.append(("/index/type", f"must be one of {', '.join(get_args(IndexType))}"))
        else:
            wrong += wrong_options(self.index_type, self.index)
        if len(self.fields) > MAX_FIELDS:
            wrong.append(("/fields", f"must be at most {MAX_FIELDS} fields, not {len(self.fields)}"))
        for name, kind in self.fields.items():
            pointer = "/fields/" + name.replace("~", "~0").replace("/", "~1")
            if name in _RESERVED_FIELDS or not 1 <= len(name) <= 256:
                wrong.append((pointer, "must have another name: this one is reserved, empty or too long"))
            if kind not in get_args(FieldType):
                wrong.append((pointer, f"must be one of {', '.join(get_args(FieldType))}"))
        wrong += [
            (f"/quality/{name}", f"must be one of {', '.join(LIMITS)}, and a finite number")
            for name, limit in self.quality.items()
            if name not in LIMITS or not math.isfinite(limit)
        ]
        if wrong:
            sentence = "; ".join(f"{pointer} {detail}" for pointer, detail in wrong)
            raise InvalidFieldsError(f"The collection cannot be made so: {sentence}.", wrong)


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to write: id None asks for a new one; vector is (D,) float32, finite; picture a small JPEG."""

    id: str | None
    identity: str | None
    vector: Vectors
    metadata: Mapping[str, Any]
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one NewItem; `reason` says why where it was rejected."""

    id: str | None
    identity: str | None
    status: Literal["created", "replaced", "rejected"]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it was given; vector is None unless it was asked for."""

    id: str
    identity: str | None
    metadata: dict[str, Any]
    vector: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Items in the order of writing, the next page's cursor, and ids of damaged ones among them, if known."""

    items: list[StoredItem]
    cursor: str | None
    damaged: Sequence[str | None] = ()


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Attributes:
        k: how many matches; how many identities under group_by.
        filter: only items that pass it.
        group_by: "identity" keeps each identity's best item only; items without one are left out.
        max_distance: only matches at most this far (inclusive).
        with_metadata, with_vector: what a match brings along.
        exact: compare every item, whatever the index.
        plain: whether only the names of the nearest are wanted: as by most searches, whose time counts.

    Raises:
        InvalidFieldsError: k or max_distance is not such a number.
    """

    k: int = 10
    filter: Filter | None = None
    group_by: Literal["identity"] | None = None
    max_distance: float | None = None
    with_metadata: bool = False
    with_vector: bool = False
    exact: bool = False
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        more = self.group_by or self.with_metadata or self.with_vector or self.exact
        object.__setattr__(self, "plain", not more and self.max_distance is None)
        if self.k < 1:
            raise InvalidFieldsError("k must be at least 1.", [("/k", "must be at least 1")])
        if self.max_distance is not None and math.isnan(self.max_distance):
            raise InvalidFieldsError(
                "max_distance must be a number.", [("/max_distance", "must be a number")]
            )


class Match(NamedTuple):
    """A found item and its exact distance in the collection's metric: smaller is closer.

    `rerank_distance` is what it was ordered by, where that was another.
    """

    id: str
    identity: str | None
    distance: float
    metadata: dict[str, Any] | None = None
    vector: Vectors | None = None
    rerank_distance: float | None = None


class Collection(Identities, Protocol):
    """A set of items that can be written, read and searched. Thread-safe; every call may block.

    A call on one that was dropped raises CollectionDroppedError, on one that is closed NotReadyError.
    """

    @property
    def name(self) -> str:
        """Return the collection's name."""

    @property
    def config(self) -> CollectionConfig:
        """Return what it was created for."""

    def upsert(self, items: Sequence[NewItem], *, all_or_none: bool = False) -> list[Written]:
        """Write items by id, in order, all durable and searchable on return.

        An item whose vector or metadata does not fit is rejected alone, with its reason; with all_or_none
        the others are then rejected too, with the reason ANOTHER_REJECTED. An id that comes twice is written
        twice: the later one stays.

        Raises:
            StorageError: the disk refused; none of the items is written.
        """

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the items of these ids and return how many there were.

        Raises:
            StorageError: the disk refused; none is deleted.
        """

    def delete_where(self, condition: Filter) -> int:
        """Delete the items that pass the filter and return how many there were.

        Raises:
            FilterError: the filter compares a declared field with a value of another type.
            StorageError: the disk refused; none is deleted.
        """

    def get(self, item_id: str, *, with_vector: bool = False) -> StoredItem | None:
        """Return one item, or None."""

    def picture(self, item_id: str) -> bytes | None:
        """Return the small JPEG that was kept of an item, or None; StorageError where it is damaged."""

    def page(
        self, *, limit: int, identity: str | None = None, cursor: str | None = None, with_vector: bool = False
    ) -> Page:
        """Return up to `limit` items after `cursor`, in the order of writing.

        Raises:
            RequestError: the cursor is not one that a page gave.
        """

    def search(
        self, queries: Vectors, options: SearchOptions, *, left_out: Sequence[LeftOut] = ()
    ) -> Sequence[Sequence[Match]]:
        """Return each query's matches, nearest first; equal distances in the order of writing.

        Those of a search for names alone are `NamedResults`: each is made when it is asked for.

        Args:
            queries: (Q, D) float32, finite.
            options: how to search.
            left_out: per query what must not be found.

        Raises:
            DimensionMismatchError: D is not the collection's.
            NonFiniteError: a query holds NaN or infinity; its `row` says which.
            DomainError: a query is a zero vector, and the metric is cosine; likewise.
            FilterError: a filter compares a declared field with a value of another type.
        """

    def search_in_memory(self, queries: Vectors, options: SearchOptions) -> Sequence[Sequence[Match]] | None:
        """Return what `search` does, at once; None where a disk must be asked, or it would take long.

        Raises:
            StaleLabelsError: a write came between; `search` goes on.
            LookalikeError: what `search` raises.
        """

    def crowded(self) -> bool:
        """Return whether searches are slowed by what was written, so that much more should wait a moment."""

    def draw(self, count: int, *, seed: int) -> list[StoredItem]:
        """Return up to `count` items at random, with vectors; for the same seed and items the same."""

    def stats(self) -> CollectionStats:
        """Return how it stands.

        Raises:
            StorageError: the disk refused.
        """

    def close(self) -> None:
        """Release what it holds. What was written stays."""
