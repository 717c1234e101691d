"""What is done for a collection in the background: it is sealed, and what is new is made fast to search."""

import threading
from collections.abc import Callable

from service.gallery.erasing import Eraser
from service.gallery.folders import refusals
from service.gallery.index.home import IndexHome
from service.gallery.index.segments import Index
from service.gallery.pauses import Rest
from service.gallery.store import Record
from service.gallery.undisturbed import Undisturbed

__all__ = ["Sealer"]

_ANSWERED_S = 0.05  # whoever wrote is answered by then, and what comes next is read
_LET_GO_S = 0.05  # longer than a search takes: who lets go of an index last frees its memory


class Sealer:
    """Prepares the next index while the one before is searched and written to, and then swaps them."""

    def __init__(
        self,
        record: Record,
        home: IndexHome,
        *,
        eraser: Eraser,
        searches: Undisturbed,
        index: Callable[[], Index],
        swap: Callable[[Callable[[Index], Index]], None],
    ) -> None:
        """Begin.

        Args:
            record: of the collection.
            home: of its index.
            eraser: wipes what was erased, once no snapshot is being made.
            searches: tells whether there are any.
            index: gives the one that is searched.
            swap: puts what is made of it into its place, in a writer's turn.
        """
        self._record, self._home = record, home
        self._eraser, self._searches = eraser, searches
        self._index, self._swap = index, swap
        self.rest = Rest()

    def crowded(self) -> bool:
        """Return whether searches are slowed by what was or is written; see `Collection.crowded`."""
        if not self._searches.searched_lately:
            return False
        return not self.rest.over or self._home.crowded(self._index())

    def seal(self, *, threads: int, stop: threading.Event, idle: bool) -> bool:
        """Write a snapshot if it is time, and return whether it was; see `EmbeddedCollection`."""
        try:
            self._record.shorten_log()  # readers one after the other keep SQLite from emptying it
            with self._eraser.sealing:
                sealed = self._seal_if_due(threads, stop, idle=idle)
            if rows := self._index().sealed:
                self._record.names.pack(rows.last_label, rows.living, stop)
            return sealed
        finally:
            if self._eraser.busy and not stop.is_set():  # or the next start wipes
                self._eraser.wipe()

    def catch_up(self, stop: threading.Event) -> bool:
        """Make what is new fast if it is time, and return whether it was; see `EmbeddedCollection`."""
        self._record.refuse_if_closed()
        if not self._searches.searched_lately or not self._home.recent_due(self._index()):
            return False
        stop.wait(_ANSWERED_S)
        began_with = self._index()
        if not self._home.recent_due(began_with):  # any more: a snapshot may have taken all of it
            return False
        recent = self._home.recent(began_with, stop=stop)

        def swapped(index: Index) -> Index:
            self._record.refuse_if_closed()
            return index.with_recent(recent)

        return self._swap_and_hold(swapped, stop)

    def _seal_if_due(self, threads: int, stop: threading.Event, *, idle: bool) -> bool:
        self._record.refuse_if_closed()
        began_with = self._index()
        if not self._home.due(began_with, idle=idle, searched=self._searches.searched_lately):
            return False
        with refusals(self._home.folder):
            snapshot, rows = self._home.seal(began_with, threads=threads, stop=stop, idle=idle)

            def swapped(index: Index) -> Index:
                self._home.settle(snapshot, self._record.refuse_if_closed)
                return index.with_sealed(rows)

            return self._swap_and_hold(swapped, stop)

    def _swap_and_hold(self, change: Callable[[Index], Index], stop: threading.Event) -> bool:
        """Change the index, and return whether it did; hold the one before until no search has it.

        To free hundreds of megabytes takes milliseconds.
        """
        before: list[Index] = []

        def noted(index: Index) -> Index:
            before.append(index)
            return change(index)

        self._swap(noted)
        if self._searches.searched_lately:
            stop.wait(_LET_GO_S)
        return self._index() is not before[0]
