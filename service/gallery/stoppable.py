"""Statements of SQLite that somebody else can end."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator

__all__ = ["stoppable"]

_LOOKS_EVERY_S = 0.05


@contextlib.contextmanager
def stoppable(go_on: Callable[[], None], *connections: sqlite3.Connection) -> Iterator[None]:
    """End the statements of a block soon after `go_on` raises; what it raised comes out of the block.

    SQLite asks no handler while it checks a tree, and to interrupt it ends only what runs at that moment: so
    a thread asks beside it, and interrupts again and again until the block is left.

    Args:
        go_on: called often, by that thread too.
        connections: whose statements are ended.

    Raises:
        Exception: what `go_on` raised.
    """
    go_on()
    left = threading.Event()
    raised: list[Exception] = []

    def watch() -> None:
        while not left.wait(_LOOKS_EVERY_S):
            try:
                go_on()
            except Exception as error:  # handed to whoever is in the block
                raised.append(error)
                break
        while not left.wait(_LOOKS_EVERY_S / 10):
            for connection in connections:
                connection.interrupt()

    watching = threading.Thread(target=watch, name="gallery-stoppable", daemon=True)
    watching.start()
    try:
        yield
    except sqlite3.Error:
        if raised:
            raise raised[0] from None
        raise
    finally:
        left.set()
        watching.join()
