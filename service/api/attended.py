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
class _Client:
    """Whoever asked; the thread reads `left` and the event loop sets it."""

    left: bool = False


async def attended(request: Request, work: Callable[[], Result], limiter: CapacityLimiter) -> Result:
    """Run work in a thread; once its client has left, it never starts, or stops at its next checkpoint.

    The limiter's place is given back when the thread has ended, not when the client has left, so that
    no more computations run at once than it lets in.

    Args:
        request: of the client, its body read to the end.
        work: the computation; `models.interruption.checkpoint` in it is where it can stop.
        limiter: how many run at once.

    Raises:
        ClientDisconnect: the client left; what the work answered or raised then is dropped.
    """
    client = _Client()

    def run() -> Result:
        with interruptible(lambda: client.left):
            checkpoint()
            return work()

    try:
        async with create_task_group() as group:
            group.start_soon(_watch, request, client, group.cancel_scope)
            result = await to_thread.run_sync(run, limiter=limiter)
            group.cancel_scope.cancel()
            if not client.left:
                return result
    except ExceptionGroup as errors:
        if not client.left:
            raise errors.exceptions[0] from None
    finally:
        client.left = True  # or a shutdown that cancels this request would leave its thread computing
    raise ClientDisconnect


async def _watch(request: Request, client: _Client, scope: CancelScope) -> None:
    """Wait for the client to leave; after the body nothing else comes from it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    client.left = True
    scope.cancel()
