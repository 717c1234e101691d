"""Which search may use several threads of FAISS: one at a time, as others would wait for the same cores."""

import threading
from types import TracebackType

__all__ = ["Team"]


class Team:
    """Lets one search at a time be shared out to threads; those that come meanwhile are done by one each."""

    def __init__(self) -> None:
        self._free = threading.Lock()

    def of(self, threads: int) -> "_Use":
        """Return what gives up to so many threads to a `with` statement: all of them, or one."""
        return _Use(self._free, threads)


class _Use:
    def __init__(self, free: threading.Lock, threads: int) -> None:
        self._free, self._threads, self._held = free, threads, False

    def __enter__(self) -> int:
        self._held = self._threads > 1 and self._free.acquire(blocking=False)
        return self._threads if self._held else 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._held:
            self._free.release()
