"""Memory that the process has freed, given back to the system."""

import contextlib
import ctypes

__all__ = ["give_back"]


def give_back() -> None:
    """Give back what was freed; where the C library is not glibc, which alone can be told to, do nothing.

    It otherwise keeps what was freed below anything that is in use, for each thread by itself. An encoder
    that was replaced leaves much of that, and the next ones do not fit into all of it: without this some
    fifty swaps made 370 MiB into 800. It takes some ten milliseconds, in which threads that allocate wait.
    """
    with contextlib.suppress(OSError, AttributeError):  # no such library, no such function
        ctypes.CDLL("libc.so.6").malloc_trim(0)
