"""One search of an embedded collection: filter, neighbours, names, what is left out, groups, details."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from service.gallery.collection import Match, SearchOptions, StoredItem, Vectors
from service.gallery.columns import Columns
from service.gallery.filters import Filter
from service.gallery.grouping import Groups
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import StaleLabelsError
from service.gallery.index.hits import Hits, joined_hits
from service.gallery.index.proposing import TakesLongError
from service.gallery.index.segments import Index
from service.gallery.named_matches import NamedResults
from service.gallery.options import NOTHING, LeftOut
from service.gallery.packed_names import Name
from service.gallery.passing import Passing
from service.gallery.store import Record

__all__ = ["Sources", "search", "search_in_memory"]

_BRIEF_NUMBERS = 2**19  # of the rows that pass a filter, for each query: compared within a millisecond
_WIDENING = 4
_FETCHED_MORE = 1_000  # so many that are left out are fetched beside the k; more are taken out before
_NAMED_AT_MOST = 2_000  # candidates of a group whose names are looked up; beyond, groups go by number
_NAMED_AT_ONCE = 10_000  # matches: meanwhile no other thread has the interpreter


class _Found(NamedTuple):
    label: int
    id: str
    identity: str | None
    distance: float


@dataclass(frozen=True, slots=True)
class Sources:
    """What a collection is searched with: its record, and what is remembered of it."""

    record: Record
    columns: Columns
    passing: Passing
    groups: Groups

    @classmethod
    def of(cls, record: Record) -> "Sources":
        """Return a record's, with nothing remembered."""
        columns = Columns(record)
        return cls(record, columns, Passing(record, columns), Groups(record))

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes it takes to remember that."""
        parts = (self.record.names, self.columns, self.passing, self.groups)
        return sum(part.memory_bytes for part in parts)


def search(
    sources: Sources, index: Index, queries: Vectors, options: SearchOptions, left_out: Sequence[LeftOut]
) -> Sequence[Sequence[Match]]:
    """Return each query's matches, as of the moment of the index.

    What passes a filter is made to fit the index, and the names are read after: rows never change under their
    label, so if every label that is met is still there, no write that matters came between.

    Raises:
        StaleLabelsError: one came between; search again.
    """
    if options.plain and all(one is NOTHING for one in left_out):
        allowed = None if options.filter is None else sources.passing.labels(options.filter, index)
        nearest = _nearest(index, queries, options.k, allowed, sources.record.names.openings_of)
        if nearest is None:
            raise StaleLabelsError("Some labels are no longer in the record.")
        return nearest
    found = _Search(sources, index, queries, options, list(left_out) or [NOTHING] * len(queries)).found()
    return _matches(sources.record, found, options)


def search_in_memory(
    sources: Sources, index: Index, queries: Vectors, options: SearchOptions
) -> Sequence[Sequence[Match]] | None:
    """Return what `search` does; None where the record must be read, or much of what memory holds.

    Raises:
        StaleLabelsError: there was a write meanwhile.
    """
    if not options.plain:
        return None
    allowed = None
    if options.filter is not None:
        allowed = sources.passing.labels_at_once(options.filter, index)
        if allowed is None or len(queries) * index.weight(allowed) > _BRIEF_NUMBERS:
            return None
    # Rows that pass and are brief to scan are scanned before a team of threads has met.
    at_once, openings_of = allowed is not None, sources.record.names.remembered_openings_of
    try:
        return _nearest(index, queries, options.k, allowed, openings_of, at_once=at_once)
    except TakesLongError:
        return None


def _nearest(
    index: Index,
    queries: Vectors,
    k: int,
    allowed: Integers | None,
    openings_of: Callable[[Integers], list[bytes] | None],
    *,
    at_once: bool = False,
) -> NamedResults | None:
    """Return each query's k nearest; None where `openings_of` does not know one of them."""
    found, ends = joined_hits(index.search(queries, k, allowed=allowed, at_once=at_once))
    openings: list[bytes] = []
    for at in range(0, len(found.labels), _NAMED_AT_ONCE):
        named = openings_of(found.labels[at : at + _NAMED_AT_ONCE])
        if named is None:
            return None
        openings += named
    return NamedResults(openings, found.distances, ends)


class _Search:
    """Looks for the matches of some queries."""

    def __init__(
        self,
        sources: Sources,
        index: Index,
        queries: Vectors,
        options: SearchOptions,
        left_out: Sequence[LeftOut],
    ) -> None:
        self._sources, self._index, self._queries, self._options = sources, index, queries, options
        self._left_out = left_out
        self._names: dict[int, Name] = {}
        self._allowed = None if options.filter is None else sources.passing.labels(options.filter, index)
        keys = [repr(one.shared) for one in left_out]  # equality would not do: 1 == True
        without = {
            key: self._shared(one.shared) for key, one in dict(zip(keys, left_out, strict=True)).items()
        }
        self._keys, self._without = keys, [without[key] for key in keys]

    def found(self) -> list[list[_Found]]:
        """Return what each query finds, nearest first."""
        few = [i for i, without in enumerate(self._without) if len(without) <= _FETCHED_MORE]
        found: dict[int, list[_Found]] = dict(zip(few, self._nearest(few, self._allowed), strict=True))
        many: dict[str, list[int]] = {}
        for i, key in enumerate(self._keys):
            if i not in found:
                many.setdefault(key, []).append(i)
        for members in many.values():
            base = self._index.living() if self._allowed is None else self._allowed
            allowed = np.setdiff1d(base, self._without[members[0]], assume_unique=True)
            found.update(zip(members, self._nearest(members, allowed), strict=True))
        return [found[i] for i in range(len(self._queries))]

    def _shared(self, shared: Filter | None) -> Integers:
        if shared is None:
            return np.empty(0, np.int64)
        return self._sources.passing.labels(shared, self._index)

    def _nearest(self, members: Sequence[int], allowed: Integers | None) -> list[list[_Found]]:
        """Return what some queries find among the labels that are allowed."""
        if not members:
            return []
        k, grouped = self._options.k, self._options.group_by is not None
        more = max(self._more(i) for i in members)
        fetch = k * (_WIDENING if grouped else 1) + more
        found: dict[int, list[_Found]] = {}
        pending = list(members)
        while pending:
            hits = self._hits(pending, fetch, allowed)
            for i, hit in zip(pending, hits, strict=True):
                found[i] = self._select(hit, i)
            pending = [
                i
                for i, hit in zip(pending, hits, strict=True)
                if len(found[i]) < k and len(hit.labels) == fetch  # others may follow
            ]
            fetch *= _WIDENING
            if grouped and fetch > max(_NAMED_AT_MOST, _WIDENING * (k + more)):
                break
        for i in pending:
            found[i] = self._by_number(i, allowed)
        return [found[i] for i in members]

    def _more(self, i: int) -> int:
        """Return how many items at most are found that a query leaves out."""
        without = len(self._without[i])
        return len(self._left_out[i].ids) + (without if without <= _FETCHED_MORE else 0)

    def _hits(self, members: Sequence[int], fetch: int, allowed: Integers | None) -> Sequence[Hits]:
        hits = self._index.search(
            self._queries[members],
            fetch,
            max_distance=self._options.max_distance,
            allowed=allowed,
            exact=self._options.exact or self._options.group_by is not None,
        )
        self._learn_names({label for hit in hits for label in hit.labels.tolist()})
        return hits

    def _learn_names(self, labels: set[int]) -> None:
        unknown = labels - self._names.keys()
        self._names.update(self._sources.record.names.of(unknown))
        _refuse_missing(unknown, self._names)

    def _select(self, hits: Hits, i: int) -> list[_Found]:
        """Return the first k hits that count: under group_by, the first of each identity."""
        found: list[_Found] = []
        identities: set[str] = set()
        ids, shared = self._left_out[i].ids, self._without[i]
        if len(shared):
            kept = ~np.isin(hits.labels, shared)
            hits = Hits(hits.labels[kept], hits.distances[kept])
        for label, distance in zip(hits.labels.tolist(), hits.distances.tolist(), strict=True):
            item_id, identity = self._names[label]
            if item_id in ids:
                continue
            if self._options.group_by is not None:
                if identity is None or identity in identities:
                    continue
                identities.add(identity)
            found.append(_Found(label, item_id, identity, distance))
            if len(found) == self._options.k:
                break
        return found

    def _by_number(self, i: int, allowed: Integers | None) -> list[_Found]:
        """Return each identity's best where some have so many items that names would take long."""
        options, ids = self._options, self._left_out[i].ids
        members = self._sources.groups.members(self._index)
        kept = np.ones(len(members.labels), np.bool_)
        if allowed is not None:
            kept &= np.isin(members.labels, allowed, assume_unique=True)
        if len(shared := self._without[i]):
            kept &= ~np.isin(members.labels, shared, assume_unique=True)
        if ids:
            kept &= ~np.isin(members.labels, self._sources.record.labels_named(ids))
        best = self._sources.groups.best(
            self._index, self._queries[i : i + 1], options.k, kept, max_distance=options.max_distance
        )
        self._learn_names(set(best.labels.tolist()))
        return [
            _Found(label, *self._names[label], distance)
            for label, distance in zip(best.labels.tolist(), best.distances.tolist(), strict=True)
        ]


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
    if missing := len(labels - present.keys()):
        raise StaleLabelsError(f"{missing} labels are no longer in the record.")
