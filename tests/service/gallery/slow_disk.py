"""A disk that does not answer: the opening of a collection waits for it until it does."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["slow_snapshot"]


@contextmanager
def slow_snapshot(data_dir: Path, name: str) -> Iterator[Callable[[], None]]:
    """Give a collection a snapshot whose manifest cannot be read before the block is left, and is none then.

    Gives a function that lets it be read earlier. Somebody must be reading it in the end.
    """
    folder = data_dir / "collections" / name / "snapshots" / "0-slow"
    folder.mkdir(parents=True)
    manifest = folder / "manifest.json"
    os.mkfifo(manifest)
    reads = False

    def let_go() -> None:
        nonlocal reads
        if not reads:
            with manifest.open("wb") as file:  # waits for whoever reads it
                file.write(b"{")
        reads = True

    try:
        yield let_go
    finally:
        let_go()
