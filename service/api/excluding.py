"""What the queries of a search must not find: themselves, and what shares fields with them."""

from collections.abc import Iterable, Mapping, Sequence

from service.api.search_schemas import (
    ExampleById,
    QueryByExamples,
    QueryById,
    QueryBySample,
    QueryBySamples,
)
from service.api.validation import pointer_of
from service.errors import InvalidFieldsError, NotFoundError
from service.gallery.collection import Collection, StoredItem
from service.gallery.filters import AllOf, Filter, parse_filter
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
    position: int, query: object, exclude_same: Sequence[str], stored: Mapping[str, StoredItem]
) -> LeftOut:
    """Return what a query must not find.

    Args:
        position: of the query, for errors.
        query: as it was parsed.
        exclude_same: the fields of the request.
        stored: the items that queries name, by id.

    Raises:
        FilterError: a value of the query can be compared with nothing.
        InvalidFieldsError: the query lacks one of the fields.
    """
    ids = frozenset(_ids(query))
    if not exclude_same:
        return LeftOut(ids) if ids else NOTHING
    identity, known = _described(query, stored)
    if identity is not None:
        known["identity"] = identity
    lacking = [field for field in exclude_same if known.get(field) is None]
    if lacking:
        message = (
            f"The query has no {lacking[0]!r}, which exclude_same goes by. Give it as "
            '{"sample": ..., "metadata": {...}}, or leave it out of exclude_same.'
        )
        pointer = pointer_of("queries", position)
        raise InvalidFieldsError(f"{pointer}: {message}", [(pointer, message)])
    fields = dict.fromkeys([*exclude_same, *(["identity"] if identity is not None else [])])
    parts: list[Filter] = [parse_filter({field: {"eq": known[field]}}) for field in fields]
    return LeftOut(ids, AllOf(tuple(parts)))


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
