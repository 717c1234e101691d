"""Group commit: writes that wait at the same time share one transaction, and so one fsync."""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.label_reads import Labels
from service.gallery.record_writer import RecordWriter
from service.gallery.sqlite import is_refusal

__all__ = ["Change", "Commits", "Operation", "merged"]

MAX_ROWS = 10_000  # of one commit: so long the first who waits must wait for the others


@dataclass(frozen=True, slots=True)
class Change:
    """What one operation did to the record: labels that are gone, labels that came, and their vectors.

    Attributes:
        removed: (R,) labels.
        labels: (N,) ascending, each above every label there was.
        vectors: (N, D) float32.
        before: the ids that were replaced.
        forgotten: how many damaged rows, which have no label here, are no longer named.
        damaged: id by label of damaged rows that were met, and are to be left out.
    """

    removed: Sequence[int]
    labels: Sequence[int] = ()
    vectors: Vectors | None = None
    before: frozenset[str] = frozenset()
    forgotten: int = 0
    damaged: Mapping[int, str | None] = field(default_factory=dict)

    @property
    def deleted(self) -> int:
        """Return how many items are gone, where none came."""
        return len(self.removed) + self.forgotten


Operation: TypeAlias = Callable[[RecordWriter], Change]


@dataclass(slots=True)
class _Waiting:
    operation: Operation
    rows: int
    outcome: "Future[Change]" = field(default_factory=Future)


class Commits:
    """Commits what several threads write, together; one of those that wait does it for all.

    Operations are done in the order in which they were handed in.
    """

    def __init__(
        self, commit: Callable[[Callable[[RecordWriter], list[Change]]], None], *, max_rows: int = MAX_ROWS
    ) -> None:
        """Begin.

        Args:
            commit: hands a writer to what it is given, applies the changes that come back, and returns once
                all is on the disk; what it raises means that nothing was written.
            max_rows: that a commit may have, unless a single operation has more.
        """
        self._commit, self._max_rows = commit, max_rows
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._leading = False

    def write(self, operation: Operation, *, rows: int) -> Change:
        """Do an operation and return what it changed, once it is on the disk.

        Args:
            operation: writes; what it raises undoes it alone.
            rows: about how many it writes.

        Raises:
            StorageError: the disk refused; nothing of the whole commit was written.
        """
        waiting = _Waiting(operation, rows)
        with self._changed:
            self._queue.append(waiting)
            self._changed.wait_for(lambda: waiting.outcome.done() or not self._leading)
            leads = not waiting.outcome.done()
            self._leading = self._leading or leads
        if leads:
            try:
                while not waiting.outcome.done():
                    self._commit_some()
                    with self._changed:
                        self._changed.notify_all()
            finally:
                with self._changed:
                    self._leading = False
                    self._changed.notify_all()
        return waiting.outcome.result()

    def _commit_some(self) -> None:
        some = self._take()
        done: list[tuple[_Waiting, Change]] = []

        def write(writer: RecordWriter) -> list[Change]:
            done.extend(_done(writer, some))
            return [change for _, change in done]

        try:
            self._commit(write)
        except BaseException as error:  # whoever waits for it gets it
            for waiting in some:
                if not waiting.outcome.done():
                    waiting.outcome.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, change in done:
                waiting.outcome.set_result(change)

    def _take(self) -> list[_Waiting]:
        """Return the first that wait: one at least, and no more than a commit may have."""
        with self._changed:
            some = [self._queue.popleft()]
            rows = some[0].rows
            while self._queue and rows + self._queue[0].rows <= self._max_rows:
                some.append(self._queue.popleft())
                rows += some[-1].rows
        return some


def _done(writer: RecordWriter, some: Iterable[_Waiting]) -> list[tuple[_Waiting, Change]]:
    """Do each operation and return those that succeeded; the others did nothing and have their exceptions."""
    done: list[tuple[_Waiting, Change]] = []
    for waiting in some:
        try:
            with writer.alone():
                change = waiting.operation(writer)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and is_refusal(error):
                raise
            waiting.outcome.set_exception(error)
        else:
            done.append((waiting, change))
    return done


def merged(changes: Sequence[Change], dimension: int) -> tuple[Labels, Labels, Vectors]:
    """Return labels removed, labels added, and their vectors (N, D), of several changes one after the other.

    A label that came and went among them is in neither.
    """
    removed = np.array([label for change in changes for label in change.removed], dtype=np.int64)
    added = np.array([label for change in changes for label in change.labels], dtype=np.int64)
    empty = np.empty((0, dimension), dtype=np.float32)
    vectors = np.concatenate([empty, *(change.vectors for change in changes if change.vectors is not None)])
    passing = np.intersect1d(removed, added)
    if not len(passing):
        return removed, added, vectors
    stays = ~np.isin(added, passing)
    return removed[~np.isin(removed, passing)], added[stays], vectors[stays]
