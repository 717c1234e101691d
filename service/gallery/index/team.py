"""Which search may use several threads of FAISS: one at a time, as others would wait for the same cores."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

__all__ = ["Team"]

_ALONE = nullcontext(1)


class Team:
    """Lets one search at a time be shared out to threads; those that come meanwhile are done by one each."""

    def __init__(self) -> None:
        self._free = threading.Lock()

    def of(self, threads: int) -> AbstractContextManager[int]:
        """Return a context in which a search that several threads would help has so many: these, or one."""
        return self._shared_out(threads) if threads > 1 else _ALONE

    @contextmanager
    def _shared_out(self, threads: int) -> Iterator[int]:
        if not self._free.acquire(blocking=False):
            yield 1
            return
        try:
            yield threads
        finally:
            self._free.release()
