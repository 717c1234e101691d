"""Searches of an embedded collection, right whatever is written meanwhile."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from models.errors import InputError
from service.errors import DamagedItemError, DamageError
from service.gallery.collection import Match, SearchOptions, Vectors
from service.gallery.damage import DamagedRows
from service.gallery.index.flat import StaleLabelsError
from service.gallery.index.segments import Index
from service.gallery.options import LeftOut
from service.gallery.pauses import with_pauses
from service.gallery.searchable import refuse_unsearchable
from service.gallery.searching import Sources, search, search_in_memory

__all__ = ["Undisturbed"]

_TRIES = 3  # before it waits for a writer's turn
_LATELY_S = 1.0
_MOST_DAMAGED = 100  # found by one read, one after the other

Result = TypeVar("Result")
Item = TypeVar("Item")


class Undisturbed:
    """Searches a collection as of one moment, without waiting for writers.

    Where a write came between its reading the index and the record, it searches again, at last in a writer's
    turn.
    """

    def __init__(
        self,
        name: str,
        now: Callable[[], tuple[Sources, Index]],
        write_turn: threading.Lock,
        *,
        leave_out: Callable[[DamagedRows], None],
    ) -> None:
        """Begin.

        Args:
            name: of the collection.
            now: gives what is searched.
            write_turn: is held by whoever writes.
            leave_out: goes past damaged rows from then on.
        """
        self._name, self._now, self._write_turn = name, now, write_turn
        self._leave_out = leave_out
        self._last_s = self._last_but_one_s = -math.inf  # searches, on the monotonic clock

    @property
    def searched_lately(self) -> bool:
        """Return whether there were two searches within the last second: a probe makes fewer."""
        return time.monotonic() - self._last_but_one_s < _LATELY_S

    def paced(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items of a write, with pauses while this collection is searched."""
        return with_pauses(items, lambda: self.searched_lately)

    def search(
        self, queries: Vectors, options: SearchOptions, left_out: Sequence[LeftOut]
    ) -> Sequence[Sequence[Match]]:
        """Return each query's matches, nearest first; see `Collection`."""
        self._checked(queries)
        self._note_search()
        return self.past_damage(lambda: self._search(queries, options, left_out))

    def past_damage(self, read: Callable[[], Result]) -> Result:
        """Return what a read gives, without the items that it or others find damaged meanwhile.

        Raises:
            DamageError: more are damaged than can be gone past.
        """
        for _ in range(_MOST_DAMAGED):
            try:
                return read()
            except DamagedItemError as error:
                self._leave_out({error.label: (error.item_id, None)})
        return read()

    def leaving_out(self, read: Callable[[], Result]) -> Result:
        """Return what a read of one item gives; where that is damaged, it is left out from then on.

        Raises:
            DamagedItemError: it is.
        """
        try:
            return read()
        except DamagedItemError as error:
            self._leave_out({error.label: (error.item_id, None)})
            raise

    def _search(
        self, queries: Vectors, options: SearchOptions, left_out: Sequence[LeftOut]
    ) -> Sequence[Sequence[Match]]:
        if options.filter is not None:  # not in a writer's turn, as it may take a tenth of a second
            sources, index = self._now()
            index.encode_if_due(sources.columns.order)
        for _ in range(_TRIES):
            try:
                return search(*self._now(), queries, options, left_out)
            except StaleLabelsError:
                continue
            except InputError as error:
                raise self._said(error, queries) from None
        with self._write_turn:
            try:
                return search(*self._now(), queries, options, left_out)
            except StaleLabelsError as error:  # nobody writes now: rows are missing
                raise DamageError(
                    f"The collection {self._name!r}: {error} It is damaged; restore a backup."
                ) from error
            except InputError as error:
                raise self._said(error, queries) from None

    def search_in_memory(self, queries: Vectors, options: SearchOptions) -> Sequence[Sequence[Match]] | None:
        """Return what `search` does; None where the disk would have to be asked."""
        sources, index = self._checked(queries)
        try:
            found = search_in_memory(sources, index, queries, options)
        except InputError as error:
            raise self._said(error, queries) from None
        if found is not None:  # or it is searched once more
            self._note_search()
        return found

    def _note_search(self) -> None:
        self._last_but_one_s, self._last_s = self._last_s, time.monotonic()

    def _checked(self, queries: Vectors) -> tuple[Sources, Index]:
        """Return what is searched, if it is open, and the queries are as long as its vectors."""
        sources, index = self._now()
        if queries.shape[1] != index.dimension:
            refuse_unsearchable(queries, sources.record.config, self._name)
        sources.record.refuse_if_closed()  # all may be in memory
        return sources, index

    def _said(self, error: InputError, queries: Vectors) -> InputError:
        """Return an error of the queries, where the index said it of its vectors."""
        try:
            refuse_unsearchable(queries, self._now()[0].record.config, self._name)
        except InputError as better:
            return better
        return error
