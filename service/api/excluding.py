"""What the queries of a search must not find: themselves, and what shares fields with them."""

import reprlib
from collections.abc import Iterable, Mapping

from service.api.search_schemas import (
    ExampleById,
    QueryByExamples,
    QueryById,
    QueryBySample,
    QueryBySamples,
)
from service.api.validation import pointer_of
from service.api.vectors import located
from service.errors import FilterError, NotFoundError
from service.gallery.collection import Collection, StoredItem
from service.gallery.fields import FieldType
from service.gallery.filter_sql import operand
from service.gallery.filters import AllOf, Filter, equal_to
from service.gallery.options import NOTHING, LeftOut

__all__ = ["stored_items", "what_is_left_out"]


def stored_items(queries: Iterable[object], target: Collection) -> dict[str, StoredItem]:
    """Return the stored items that queries name, by id, with their vectors; runs in a thread.

    Raises:
        NotFoundError: there is none of an id.
    """
    items: dict[str, StoredItem] = {}
    for item_id in dict.fromkeys(one for query in queries for one in _ids(query)):
        item = target.get(item_id, with_vector=True)
        if item is None:
            raise NotFoundError(f"The collection {target.name!r} has no item {item_id!r} to search with.")
        items[item_id] = item
    return items


def what_is_left_out(
    position: int,
    query: object,
    exclude_same: Mapping[str, FieldType | None],
    stored: Mapping[str, StoredItem],
) -> LeftOut:
    """Return what a query must not find.

    Args:
        position: of the query, for errors.
        query: as it was parsed.
        exclude_same: the fields of the request, each with the type that the collection declares.
        stored: the items that queries name, by id.

    Raises:
        InvalidFieldsError: the query lacks one of the fields, or its value can be compared with nothing.
    """
    ids = frozenset(_ids(query))
    if not exclude_same:
        return LeftOut(ids) if ids else NOTHING
    identity, known = _described(query, stored)
    if identity is not None:
        known["identity"] = identity
    lacking = [field for field in exclude_same if known.get(field) is None]
    if lacking:
        raise located(
            pointer_of("queries", position),
            f"The query has no {lacking[0]!r}, which exclude_same goes by. Give it as "
            '{"sample": ..., "metadata": {...}}, or leave it out of exclude_same.',
        )
    fields = dict.fromkeys([*exclude_same, *(["identity"] if identity is not None else [])])
    return LeftOut(
        ids, AllOf(tuple(_equal(position, field, known[field], exclude_same.get(field)) for field in fields))
    )


def _equal(position: int, field: str, value: object, kind: FieldType | None) -> Filter:
    """Return the filter that what has this value of a query passes."""
    must_be = "it must be a string, a number of at most 64 bits, true or false"
    try:
        passed = equal_to(field, value)
        if kind is not None:
            must_be = f"it is declared {kind}"
            operand(field, passed.values[0], kind)
    except FilterError as error:
        raise located(
            pointer_of("queries", position),
            f"exclude_same goes by its {field!r}, which is {reprlib.repr(value)}: {must_be}. "
            "Give another in its metadata, or leave it out of exclude_same.",
        ) from error
    return passed


def _ids(query: object) -> list[str]:
    if isinstance(query, QueryById):
        return [query.id]
    if isinstance(query, QueryByExamples):
        return [one.id for one in (*query.positive, *query.negative) if isinstance(one, ExampleById)]
    return []


def _described(query: object, stored: Mapping[str, StoredItem]) -> tuple[str | None, dict[str, object]]:
    """Return a query's identity and metadata; those of a stored item unless they are given."""
    if not isinstance(query, (QueryById, QueryBySample, QueryBySamples, QueryByExamples)):
        return None, {}
    if isinstance(query, QueryById):
        item = stored[query.id]
        return query.identity or item.identity, {**item.metadata, **query.metadata}
    return query.identity, dict(query.metadata)
