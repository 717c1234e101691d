"""Searches of many clients: those that wait together are answered together."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from models.errors import LookalikeError
from service.cpus import disk_waits
from service.errors import NotReadyError, OverloadedError
from service.gallery.brevity import LATE_S, Brevity, Held
from service.gallery.collection import Collection, Match, SearchOptions, Vectors
from service.gallery.options import NOTHING, LeftOut

__all__ = ["Found", "Searcher"]

_MOST_QUERIES = 32  # of several requests in one search; a larger request has one of its own
_MOST_SHARED_K = 1_000  # nobody waits while somebody else's larger answer is made

Found: TypeAlias = Sequence[Sequence[Match]]
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)  # frozen ones take several times as long to make
class _Request:
    """A search that somebody waits for."""

    collection: Collection
    brevity: Brevity
    queries: Vectors
    options: SearchOptions
    left_out: Sequence[LeftOut]
    then: Callable[[Found], Any]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"

    def goes_with(self, other: "_Request") -> bool:
        """Return whether one search can answer both."""
        same = self.collection is other.collection and self.loop is other.loop
        if not same or self.options != other.options or self.options.k > _MOST_SHARED_K:
            return False
        return self.options.filter is None or repr(self.options) == repr(other.options)  # for 1 == True


class Searcher:
    """Searches for what waits for the same in one go: in threads, or on the event loop where that is brief.

    A thread that is woken, and the interpreter that changes hands, cost more than a brief search; with 16
    clients a search of ten costs little more than one. See docs/decisions/0018-brief-searches.md.
    """

    def __init__(
        self,
        *,
        threads: int,
        most_waiting: int,
        clock: Callable[[], float] = time.monotonic,
        working: Callable[[], float] = time.thread_time,
    ) -> None:
        """Begin.

        Args:
            threads: how many search at once.
            most_waiting: how many requests may wait; more are refused.
            clock: gives seconds.
            working: gives those that this thread has worked, by which searches are brief or not.
        """
        self._clock, self._working = clock, working
        self._disk_waits = disk_waits()
        self._waiting: deque[_Request] = deque()
        self._most_waiting = most_waiting
        self._changed, self._closed = threading.Condition(), False
        self._brevity: WeakKeyDictionary[Collection, tuple[Brevity, Brevity]] = WeakKeyDictionary()
        self._arrived: dict[asyncio.AbstractEventLoop, deque[_Request]] = {}
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
        *,
        then: Callable[[Found], Answer],
        alone: bool = False,
    ) -> Answer:
        """Return what becomes of what `Collection.search` finds, and raise what it raises.

        Args:
            collection: to be searched.
            queries: (Q, D).
            options: how.
            left_out: for each query; empty where nothing is.
            then: makes the answer of what was found, in the thread that found it, or on the event loop: to
                hand hundreds of matches on takes as long as to find them. What it raises is raised here.
            alone: whether no other search can come soon that could be answered together with it.

        Raises:
            OverloadedError: too many searches wait.
            NotReadyError: it is closed.
        """
        loop = asyncio.get_running_loop()
        if left_out and all(one is NOTHING for one in left_out):
            left_out = ()
        brevity = self._brevity_of(collection, options)
        answer: asyncio.Future[Answer] = loop.create_future()
        request = _Request(collection, brevity, queries, options, left_out, then, loop, answer)
        alone = alone and loop not in self._arrived
        if not self._is_brief(request, alone=alone):
            self._wait(request)
        elif alone:
            self._answer_here([request])
        else:
            if loop not in self._arrived:
                self._arrived[loop] = deque()
                loop.call_soon(self._answer_arrived, loop)
            self._arrived[loop].append(request)
        return await answer

    def close(self) -> None:
        """Answer what waits, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _brevity_of(self, collection: Collection, options: SearchOptions) -> Brevity:
        """Return how long such searches of the collection take: with a filter, or without."""
        kinds = self._brevity.get(collection)
        if kinds is None:
            kinds = self._brevity.setdefault(collection, (Brevity(self._clock), Brevity(self._clock)))
        return kinds[options.filter is not None]

    def _is_brief(self, request: _Request, *, alone: bool) -> bool:
        at_once = 0 if self._closed else request.brevity.brief(request.options, alone=alone)
        return not request.left_out and len(request.queries) <= at_once

    def _answer_here(self, batch: list[_Request]) -> None:
        """Answer requests on the event loop, or let them wait for a thread where the disk must be asked."""
        first, began = batch[0], (self._clock(), self._working())
        try:
            found = first.collection.search_in_memory(_queries_of(batch), first.options)
        except Exception:
            found = None  # a thread will find out whose fault it is
        answers = None if found is None else _answers_of(found, batch)
        held = self._held_since(began)
        first.brevity.note_held(first.options, _count(batch), held, answered=answers is not None)
        if answers is None:
            self._hand_over(batch)
        else:
            _settle(batch, answers)

    def _hand_over(self, batch: list[_Request]) -> None:
        """Let requests wait for a thread."""
        for request in batch:
            try:
                self._wait(request)
            except LookalikeError as error:
                _settle([request], [error])

    def _answer_arrived(self, loop: asyncio.AbstractEventLoop, before: int = 0) -> None:
        """Answer brief searches once a turn of the event loop brings no more than there were before."""
        waiting = self._arrived[loop]
        at_once = waiting[0].brevity.brief(waiting[0].options)  # it may have been slow meanwhile
        if before < len(waiting) < at_once:
            loop.call_soon(self._answer_arrived, loop, len(waiting))
            return
        batch = _taken(waiting, at_once or _MOST_QUERIES)
        if waiting:
            loop.call_soon(self._answer_arrived, loop, len(waiting))
        else:
            del self._arrived[loop]
        if at_once:
            self._answer_here(batch)
        else:
            self._hand_over(batch)

    def _wait(self, request: _Request) -> None:
        """Let a request wait for a thread."""
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

    def _live(self) -> None:
        while batch := self._next():
            if wanted := [request for request in batch if not request.answer.cancelled()]:
                wanted[0].loop.call_soon_threadsafe(_settle, wanted, self._answers(wanted))

    def _next(self) -> list[_Request]:
        """Wait for requests, and take the first and those that go with it; none once it is closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            return _taken(self._waiting, _MOST_QUERIES)

    def _answers(self, batch: list[_Request]) -> list[object]:
        """Search for all at once; where that fails, for each by itself, so that each gets its own error."""
        first, left_out, began = batch[0], _left_out(batch), (self._clock(), self._working())
        try:
            found = first.collection.search(_queries_of(batch), first.options, left_out=left_out)
        except Exception as error:
            if len(batch) == 1:
                return [error]
            return [answer for request in batch for answer in self._answers([request])]
        answers = _answers_of(found, batch)
        first.brevity.note(first.options, _count(batch), self._held_since(began))
        return answers

    def _held_since(self, began: tuple[float, float]) -> Held:
        worked_s = self._working() - began[1]
        waited_s = self._clock() - began[0] - worked_s
        return Held(worked_s, waited_s, read=waited_s > LATE_S and self._read_lately())

    def _read_lately(self) -> bool:
        """Return whether the process has waited for the disk since this was last asked."""
        before, self._disk_waits = self._disk_waits, disk_waits()
        return self._disk_waits != before


def _taken(waiting: deque[_Request], most: int) -> list[_Request]:
    """Take the first request out of those that wait, and others that go with it, up to some queries."""
    first = waiting.popleft()
    batch, queries = [first], len(first.queries)
    others: deque[_Request] = deque()
    while waiting and queries < most:
        one = waiting.popleft()
        if first.goes_with(one) and queries + len(one.queries) <= most:
            batch.append(one)
            queries += len(one.queries)
        else:
            others.append(one)
    waiting.extendleft(reversed(others))
    return batch


def _queries_of(batch: list[_Request]) -> Vectors:
    return batch[0].queries if len(batch) == 1 else np.concatenate([request.queries for request in batch])


def _left_out(batch: list[_Request]) -> Sequence[LeftOut]:
    """Return what requests leave out for each of their queries; nothing where none does."""
    if not any(request.left_out for request in batch):
        return ()
    return [one for request in batch for one in request.left_out or [NOTHING] * len(request.queries)]


def _count(batch: list[_Request]) -> int:
    """Return how many queries requests have in all."""
    return sum([len(request.queries) for request in batch])


def _answers_of(found: Found, batch: list[_Request]) -> list[object]:
    """Return for each request what it makes of what was found for its queries, or an exception."""
    if len(batch) == 1:  # as most are
        return [_answer_of(batch[0], found)]
    ends = accumulate(len(request.queries) for request in batch)
    parts = (found[end - len(request.queries) : end] for request, end in zip(batch, ends, strict=True))
    return list(map(_answer_of, batch, parts))


def _answer_of(request: _Request, found: Found) -> object:
    if request.answer.cancelled():
        return None
    try:
        return request.then(found)
    except Exception as error:
        return error


def _settle(batch: list[_Request], answers: Sequence[object]) -> None:
    for request, answer in zip(batch, answers, strict=True):
        if request.answer.done():
            continue
        if isinstance(answer, Exception):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)
