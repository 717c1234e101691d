"""One search of an embedded collection: filter, neighbours, names, groups, details."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from service.gallery.collection import Match, SearchOptions, StoredItem, Vectors
from service.gallery.index.flat import Hits, StaleLabelsError
from service.gallery.index.segments import Index
from service.gallery.store import Record

__all__ = ["search"]

_WIDENING = 4

Names: TypeAlias = Mapping[int, tuple[str, str | None]]


class _Found(NamedTuple):
    label: int
    id: str
    identity: str | None
    distance: float


def search(
    record: Record,
    newest_index: Callable[[], Index],
    queries: Vectors,
    options: SearchOptions,
    leave_out: Sequence[str | None],
) -> list[list[Match]]:
    """Return each query's matches, as of one moment.

    The filter is read before the index is taken, and the names after: rows never change under their label, so
    if every label that is met on one side is still there on the other, no write that matters came between.

    Raises:
        StaleLabelsError: one came between; search again.
    """
    allowed = None if options.filter is None else record.labels_where(options.filter)
    index = newest_index()
    grouped = options.group_by is not None
    left_out = list(leave_out) or [None] * len(queries)
    fetch = options.k * (_WIDENING if grouped else 1) + any(one is not None for one in left_out)
    found: list[list[_Found]] = [[] for _ in queries]
    names: dict[int, tuple[str, str | None]] = {}
    pending = list(range(len(queries)))
    while pending:
        hits = index.search(
            queries[pending], fetch, max_distance=options.max_distance, allowed=allowed, exact=options.exact
        )
        _learn_names(record, hits, names)
        for i, hit in zip(pending, hits, strict=True):
            found[i] = _select(hit, names, options, left_out[i])
        pending = [
            i
            for i, hit in zip(pending, hits, strict=True)
            if len(found[i]) < options.k and len(hit.labels) == fetch  # others may follow
        ]
        fetch *= _WIDENING
    return _matches(record, found, options)


def _learn_names(record: Record, hits: Sequence[Hits], names: dict[int, tuple[str, str | None]]) -> None:
    unknown = {label for hit in hits for label in hit.labels.tolist()} - names.keys()
    names.update(record.names(unknown))
    _refuse_missing(unknown, names)


def _select(hits: Hits, names: Names, options: SearchOptions, left_out: str | None) -> list[_Found]:
    """Return the first k hits that count: under group_by, the first of each identity."""
    found: list[_Found] = []
    identities: set[str] = set()
    for label, distance in zip(hits.labels.tolist(), hits.distances.tolist(), strict=True):
        item_id, identity = names[label]
        if item_id == left_out:
            continue
        if options.group_by is not None:
            if identity is None or identity in identities:
                continue
            identities.add(identity)
        found.append(_Found(label, item_id, identity, distance))
        if len(found) == options.k:
            break
    return found


def _matches(record: Record, found: Sequence[Sequence[_Found]], options: SearchOptions) -> list[list[Match]]:
    items: dict[int, StoredItem] = {}
    if options.with_metadata or options.with_vector:
        labels = {one.label for query in found for one in query}
        items = record.items(labels, with_vector=options.with_vector)
        _refuse_missing(labels, items)
    return [
        [
            Match(
                one.id,
                one.identity,
                one.distance,
                metadata=items[one.label].metadata if options.with_metadata else None,
                vector=items[one.label].vector if options.with_vector else None,
            )
            for one in query
        ]
        for query in found
    ]


def _refuse_missing(labels: set[int], present: Mapping[int, object]) -> None:
    if missing := labels - present.keys():
        raise StaleLabelsError(f"{len(missing)} labels are no longer in the record.")
