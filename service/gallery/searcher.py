"""Searches of many clients: those that wait together are answered together."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from service.errors import NotReadyError, OverloadedError
from service.gallery.collection import Collection, Match, SearchOptions, Vectors
from service.gallery.options import LeftOut

__all__ = ["Searcher"]

_MOST_QUERIES = 32  # of several requests in one search; a larger request has one of its own

Found: TypeAlias = list[list[Match]]


@dataclass(frozen=True, slots=True)
class _Request:
    """A search that somebody waits for."""

    collection: Collection
    queries: Vectors
    options: SearchOptions
    left_out: Sequence[LeftOut]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Found]"

    def goes_with(self, other: "_Request") -> bool:
        """Return whether one search can answer both."""
        same = self.collection is other.collection and self.loop is other.loop
        if not same or self.options != other.options:
            return False
        return self.options.filter is None or repr(self.options) == repr(other.options)  # for 1 == True


class Searcher:
    """Threads that search. What waits for the same, when one of them is free, is searched in one go.

    A thread that is woken, and the interpreter that changes hands, cost as much as a search; with 16 clients
    a search of ten costs little more than one.
    """

    def __init__(self, *, threads: int, most_waiting: int) -> None:
        """Begin.

        Args:
            threads: how many search at once.
            most_waiting: how many requests may wait; more are refused.
        """
        self._waiting: deque[_Request] = deque()
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._live, name=f"search-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def search(
        self,
        collection: Collection,
        queries: Vectors,
        options: SearchOptions,
        left_out: Sequence[LeftOut],
    ) -> Found:
        """Return what `Collection.search` does, and raise what it raises.

        Raises:
            OverloadedError: too many searches wait.
            NotReadyError: it is closed.
        """
        loop = asyncio.get_running_loop()
        request = _Request(collection, queries, options, left_out, loop, loop.create_future())
        with self._changed:
            if self._closed:
                raise NotReadyError("The gallery is closed.")
            if len(self._waiting) >= self._most_waiting:
                raise OverloadedError(
                    f"{self._most_waiting:,} searches are waiting, and no more may "
                    "(LOOKALIKE_MAX_WAITING_SEARCHES). Try again shortly.",
                    retry_after_s=1,
                )
            self._waiting.append(request)
            self._changed.notify()
        return await request.answer

    def close(self) -> None:
        """Answer what waits, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _live(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Request]:
        """Wait for requests, and take the first and those that go with it; none once it is closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            first = self._waiting.popleft()
            batch, queries = [first], len(first.queries)
            others: deque[_Request] = deque()
            while self._waiting and queries < _MOST_QUERIES:
                one = self._waiting.popleft()
                if first.goes_with(one) and queries + len(one.queries) <= _MOST_QUERIES:
                    batch.append(one)
                    queries += len(one.queries)
                else:
                    others.append(one)
            self._waiting.extendleft(reversed(others))
            return batch

    def _answer(self, batch: list[_Request]) -> None:
        """Search for all at once; where that fails, for each by itself, so that each gets its own error."""
        wanted = [request for request in batch if not request.answer.cancelled()]
        try:
            answers = _together(wanted) if wanted else []
        except Exception as error:
            if len(wanted) > 1:
                for request in wanted:
                    self._answer([request])
                return
            answers = [error]
        if wanted:
            wanted[0].loop.call_soon_threadsafe(_settle, wanted, answers)


def _together(batch: list[_Request]) -> "list[Found | Exception]":
    first = batch[0]
    if len(batch) == 1:
        return [first.collection.search(first.queries, first.options, left_out=first.left_out)]
    queries = np.concatenate([request.queries for request in batch])
    left_out = [one for request in batch for one in request.left_out]
    found = iter(first.collection.search(queries, first.options, left_out=left_out))
    return [[next(found) for _ in request.queries] for request in batch]


def _settle(batch: list[_Request], answers: "list[Found | Exception]") -> None:
    for request, answer in zip(batch, answers, strict=True):
        if request.answer.done():
            continue
        if isinstance(answer, Exception):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)
