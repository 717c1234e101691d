"""How much memory there is, and what the process has freed given back."""

import contextlib
import ctypes
import os
from pathlib import Path

__all__ = ["give_back", "granted_bytes"]

_CGROUP = Path("/sys/fs/cgroup")


def granted_bytes(cgroup: Path = _CGROUP) -> int:
    """Return the bytes of memory that the machine has, or its container is granted where that is less.

    Args:
        cgroup: where the control group's files are (version 2: memory.max, version 1: memory/...).
    """
    granted = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            granted.append(int(file.read_text()))
    return min(granted)


def give_back() -> None:
    """Give back what was freed; where the C library is not glibc, which alone can be told to, do nothing.

    It otherwise keeps what was freed below anything that is in use, for each thread by itself. An encoder
    that was replaced leaves much of that, and the next ones do not fit into all of it: without this some
    fifty swaps made 370 MiB into 800. It takes some ten milliseconds, in which threads that allocate wait.
    """
    with contextlib.suppress(OSError, AttributeError):  # no such library, no such function
        ctypes.CDLL("libc.so.6").malloc_trim(0)
