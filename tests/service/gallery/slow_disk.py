"""A disk that does not answer: the opening of a collection waits for it until it does."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["SlowSnapshot"]


class SlowSnapshot:
    """A collection's snapshot whose manifest cannot be read before the block is left, and is none then.

    The block begins when somebody reads it, or is about to: whoever waits for that one's end waits outside.
    """

    def __init__(self, data_dir: Path, name: str) -> None:
        self._manifest = data_dir / "collections" / name / "snapshots" / "0-slow" / "manifest.json"
        self._manifest.parent.mkdir(parents=True)
        os.mkfifo(self._manifest)
        self._slow = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()

    def let_go(self) -> None:
        """Let it be read now, by whoever waits for it, and by who comes later."""
        if self._slow:
            self._slow = False
            pipe = os.open(self._manifest, os.O_RDWR)  # which waits for nobody
            later = self._manifest.with_name("later")
            later.write_bytes(b"{")
            later.replace(self._manifest)
            os.write(pipe, b"{")
            os.close(pipe)
