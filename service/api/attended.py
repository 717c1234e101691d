"""Work for as long as its client waits for the answer: until it leaves, or its deadline passes."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from models.interruption import checkpoint, interruptible
from service.errors import DeadlineError

__all__ = ["attended", "awaited", "deadline_of"]

Result = TypeVar("Result")


class _Wish:
    """Whether anybody wants the answer; told on the event loop, asked in any thread.

    Args:
        deadline: by the event loop's clock.

    Attributes:
        scope: of what is awaited for it; cancelled once nobody wants it. It holds its deadline to the
            clock, where uvloop's timers may be a moment early.
    """

    def __init__(self, deadline: float) -> None:
        self.scope = CancelScope(deadline=deadline)
        self._left = False

    @property
    def gone(self) -> bool:
        """Return whether nobody wants the answer any more."""
        return self.scope.cancel_called

    def leave(self) -> None:
        """Take note that the client has left; what was late before stays late."""
        self._left = not self.gone
        self.scope.cancel()

    def refuse(self) -> None:
        """Raise why nobody wants the answer, if so."""
        if self._left:
            raise ClientDisconnect
        if self.gone:
            raise DeadlineError(
                "The deadline passed before the answer was there. Give it more time, or try again when "
                "less is waiting."
            )


def deadline_of(request: Request) -> float:
    """Return until when a request's answer is wanted, by the event loop's clock; infinity for ever."""
    deadline: float = getattr(request.state, "deadline", math.inf)
    return deadline


async def attended(request: Request, work: Callable[[], Result], limiter: CapacityLimiter) -> Result:
    """Run work in a thread; once its client has left, it never starts, or stops at its next checkpoint.

    The limiter's place is given back when the thread has ended, not when the client has left, so that
    no more computations run at once than it lets in. (A shutdown, which cancels the request itself, gives
    it back at once, while the thread still runs to its next checkpoint; no request comes after it.)

    Args:
        request: of the client, its body read to the end.
        work: the computation; `models.interruption.checkpoint` in it is where it can stop.
        limiter: how many run at once.

    Raises:
        ClientDisconnect: the client left; what the work answered or raised then is dropped.
        DeadlineError: its deadline passed; likewise.
    """
    wish = _Wish(deadline_of(request))

    def run() -> Result:
        with interruptible(lambda: wish.gone):
            checkpoint()
            return work()

    try:
        return await _wanted(request, wish, to_thread.run_sync(run, limiter=limiter))
    finally:
        wish.scope.cancel()  # or a shutdown that cancels this request would leave its thread computing


async def awaited(request: Request, work: Awaitable[Result]) -> Result:
    """Await work of the event loop; once its client has left, it is cancelled.

    Args:
        request: of the client, its body read to the end.
        work: may be cancelled at any of its awaits.

    Raises:
        ClientDisconnect: the client left.
        DeadlineError: its deadline passed.
    """
    return await _wanted(request, _Wish(deadline_of(request)), work)


async def _wanted(request: Request, wish: _Wish, work: Awaitable[Result]) -> Result:
    """Await work while somebody wants it; raise why nobody does, or what the work raised."""
    watcher = asyncio.create_task(_watch(request, wish))  # a group would cost more
    try:
        with wish.scope:
            result = await work
        wish.refuse()
        return result
    except Exception:
        wish.refuse()  # rather than what became of work that nobody wants
        raise
    finally:
        watcher.cancel()


async def _watch(request: Request, wish: _Wish) -> None:
    """Wait for the client to leave; after the body nothing else comes from it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    wish.leave()
