"""What a process that is killed leaves behind of a collection: its folder as it is at some moment.

The files of a process that is killed are as it last wrote them, whether or not they were synced.
"""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.gallery.embedded import RECORD_FILE
from service.gallery.folders import sync_folder

__all__ = ["Moments", "left_while_committing", "snapshot_files"]

LOG_FILE = f"{RECORD_FILE}-wal"


class Moments:
    """Syncs folders as the service does, and copies a collection at one of these moments."""

    def __init__(self) -> None:
        self._wanted: tuple[Path, Path] | None = None
        self._before = 0

    def copy(self, folder: Path, into: Path, *, at: int) -> None:
        """Copy a folder after the next sync but `at`."""
        self._wanted, self._before = (folder, into), at

    def forget(self) -> None:
        """Copy nothing."""
        self._wanted = None

    def __call__(self, folder: Path) -> None:
        sync_folder(folder)
        if self._wanted is None:
            return
        if self._before:
            self._before -= 1
            return
        shutil.copytree(*self._wanted)
        self._wanted = None


def left_while_committing(before: Path, after: Path, *, share: float) -> None:
    """Make of a copy from before a write what it would be if the process were killed while it wrote.

    Args:
        before: the copy; a commit writes its log from one end to the other.
        after: a copy from after the write.
        share: of the bytes by which they differ, that were written, >= 0 and < 1. There must be some.
    """
    old, new = (_bytes_of(folder / LOG_FILE) for folder in (before, after))
    length = min(len(old), len(new))
    differing = np.flatnonzero(old[:length] != new[:length])
    first = int(differing[0]) if len(differing) else length
    last = len(new) if len(new) > length else int(differing[-1]) + 1
    cut = first + int(share * (last - first))
    (before / LOG_FILE).write_bytes(new[:cut].tobytes() + old[cut:].tobytes())


def _bytes_of(path: Path) -> npt.NDArray[np.uint8]:
    return np.frombuffer(path.read_bytes(), np.uint8)


def snapshot_files(folder: Path) -> list[Path]:
    """Return the files of the snapshots in a collection's folder, the unfinished ones' too."""
    return sorted(path for path in (folder / "snapshots").rglob("*") if path.is_file())
