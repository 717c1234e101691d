"""Long computations that can be stopped: they ask, between two tiles, whether they should.

Whoever runs them says how they learn it; without that they run to their end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from models.errors import InterruptedWorkError

__all__ = ["checkpoint", "interruptible"]

_stop: ContextVar[Callable[[], bool] | None] = ContextVar("stop", default=None)


@contextmanager
def interruptible(stop: Callable[[], bool]) -> Iterator[None]:
    """Let what is computed in this context end early, with InterruptedWorkError, once stop() is true.

    A context goes along with `anyio.to_thread` and `asyncio.to_thread`, but not with `run_in_executor`, nor
    with the threads of autograd that go through a backward pass on a GPU.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def checkpoint() -> None:
    """Return, or raise InterruptedWorkError where the computation should stop.

    Raises:
        InterruptedWorkError: nobody waits for the answer any more.
    """
    stop = _stop.get()
    if stop is not None and stop():
        raise InterruptedWorkError("The computation was stopped before its end.")
