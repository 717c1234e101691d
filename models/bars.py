"""Bars that tell how far a work is: on a terminal, with log lines above them; elsewhere, log lines alone."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import Progress

__all__ = ["lines_above", "watched"]

log = logging.getLogger(__name__)

_LOG_EVERY = 100

Item = TypeVar("Item")


def watched(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yield items, showing how many there have been: a bar on a terminal, a line every hundred elsewhere.

    Args:
        items: what is worked on.
        total: how many they are.
        what: is done with them, in a few words.
    """
    console = Console(stderr=True)
    silent = not console.is_terminal
    with Progress(console=console, transient=True, disable=silent) as bar, lines_above():
        for done, item in enumerate(bar.track(items, total, description=what), start=1):
            yield item
            if silent and done % _LOG_EVERY == 0:
                log.info("%s: %d %%", what, 100 * done // total)


@contextmanager
def lines_above() -> Iterator[None]:
    """Let log lines appear above the bar that is shown now; without one, change nothing.

    Rich puts a stream of its own in the place of sys.stderr and sys.stdout, which writes above the bar, but a
    handler of the log goes on with the stream that it was made with, and would write into the bar.
    """
    above = [stream for stream in (sys.stderr, sys.stdout) if isinstance(stream, FileProxy)]
    moved = []
    for handler in logging.getLogger().handlers:
        for stream in above:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream.rich_proxied_file:
                moved.append((handler, handler.setStream(stream)))
                break
    try:
        yield
    finally:
        for handler, before in moved:
            handler.setStream(before)
