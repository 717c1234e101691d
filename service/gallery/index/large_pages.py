"""Files in large pages of memory, in which a search that goes to and fro is a third faster.

A page of 4 KiB holds some rows; to find where the next one lies in memory takes as long as to read it. Linux
keeps a file in pages of 2 MiB where it reads it so, on file systems that can (XFS, ext4 since 6.16).
Where it does not, nothing is different but the time.
"""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

__all__ = ["forget", "read_in"]

_AT_ONCE_BYTES = 32 * 2**20
_POPULATE_READ = 22  # of Linux 5.14; Python does not name it. Unlike a read of the memory, it fails in words

_libc = ctypes.CDLL(None)  # unlike `mmap.madvise` it lets other threads run, for as long as the disk reads


def forget(path: Path) -> None:
    """Drop a file from the page cache, so that it is read anew; what is not on the disk yet stays."""
    if not hasattr(os, "posix_fadvise"):  # as on macOS
        return
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_in(path: Path, go_on: Callable[[], None]) -> None:
    """Read a file that is not in memory yet into large pages; what fails is left to whoever reads it next.

    Whatever `go_on`, which is called often, raises ends it.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):  # as on macOS
        return
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
            mapped = opened.enter_context(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        except (OSError, ValueError):  # it is empty, or nothing can be opened or mapped now
            return
        address, size = np.frombuffer(mapped, np.uint8).ctypes.data, len(mapped)
        # What the system cannot do it refuses, and the file is read later, in small pages.
        _advise(address, size, mmap.MADV_HUGEPAGE)
        for at in range(0, size, _AT_ONCE_BYTES):
            go_on()
            _advise(address + at, min(_AT_ONCE_BYTES, size - at), _POPULATE_READ)


def _advise(address: int, size: int, advice: int) -> None:
    _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_int(advice))
