"""Files in large pages of memory, in which a search that goes to and fro is a third faster.

A page of 4 KiB holds some rows; to find where the next one lies in memory takes as long as to read it. Linux
keeps a file in pages of 2 MiB where it reads it so, on file systems that can (XFS, Btrfs, ext4 since 6.16).
Where it does not, nothing is different but the time.
"""

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["forget", "read_in"]

_AT_ONCE_BYTES = 32 * 2**20
_POPULATE_READ = 22  # of Linux 5.14; Python does not name it. Unlike a read of the memory, it fails in words


def forget(descriptor: int) -> None:
    """Let a file that is on the disk leave memory, where it lies in small pages as it was written."""
    if hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def read_in(path: Path, go_on: Callable[[], None]) -> None:
    """Read a file that is not in memory yet into large pages; what fails is left to whoever reads it next.

    Whatever `go_on`, which is called often, raises ends it.
    """
    size = path.stat().st_size
    if not size or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        with contextlib.suppress(OSError):  # the system has no such pages
            mapped.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size, _AT_ONCE_BYTES):
            go_on()
            with contextlib.suppress(OSError):  # it is older, or cannot read the file
                mapped.madvise(_POPULATE_READ, at, min(_AT_ONCE_BYTES, size - at))
