"""Which search may use several threads of FAISS: one at a time, as others would wait for the same cores."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Team"]


class Team:
    """Lets one search at a time be shared out to threads; those that come meanwhile are done by one each."""

    def __init__(self) -> None:
        self._free = threading.Lock()

    @contextmanager
    def of(self, threads: int) -> Iterator[int]:
        """Yield how many threads a search may use that several would help: all of these, or one."""
        if threads == 1 or not self._free.acquire(blocking=False):
            yield 1
            return
        try:
            yield threads
        finally:
            self._free.release()
