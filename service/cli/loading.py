"""Imports that take seconds, which a command does when it runs and `--help` never."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Import without the garbage collector, and let it leave alone what the first import of torch brought.

    Torch and what comes with it are some 400,000 objects that stay. To walk through them again and again, and
    a last time as the process ends, takes a quarter of what a short command takes.
    """
    first = "torch" not in sys.modules
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
    if first:
        gc.freeze()
