"""Work in a thread for as long as its client waits for the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, create_task_group, to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from models.interruption import checkpoint, interruptible

__all__ = ["attended"]

Result = TypeVar("Result")


@dataclass(slots=True)
class _Wish:
    """Whether anybody wants the answer; the thread reads it and the event loop sets it."""

    unwanted: bool = False


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
    """
    wish = _Wish()
    failure: Exception | None = None

    def run() -> Result:
        with interruptible(lambda: wish.unwanted):
            checkpoint()
            return work()

    try:
        async with create_task_group() as group:
            group.start_soon(_watch, request, wish, group.cancel_scope)
            try:
                result = await to_thread.run_sync(run, limiter=limiter)
            except Exception as error:  # raised below, where no group wraps it
                failure = error
            group.cancel_scope.cancel()
        if wish.unwanted:
            raise ClientDisconnect
        if failure is not None:
            raise failure
        return result
    finally:
        wish.unwanted = True  # or a shutdown that cancels this request would leave its thread computing


async def _watch(request: Request, wish: _Wish, scope: CancelScope) -> None:
    """Wait for the client to leave; after the body nothing else comes from it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    wish.unwanted = True
    scope.cancel()
