"""Folders on the disk: made and moved so that a power cut cannot undo it, measured, and locked."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from service.errors import ConflictError, StorageError

__all__ = [
    "Sync",
    "bytes_in",
    "lock",
    "lock_data_dir",
    "locked",
    "made_aside",
    "make_folder",
    "move_folder",
    "refusals",
    "refuse_if_in_use",
    "refuse_within",
    "remove_leftovers",
    "sync_folder",
]

Sync: TypeAlias = Callable[[Path], None]

_LOCK = "lock"  # the name of a data directory's

_logger = logging.getLogger(__name__)


def sync_folder(folder: Path) -> None:
    """Put the folder's entries on the disk: what is made or renamed in it lasts only then."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, sync: Sync) -> None:
    """Make a folder and its missing parents, each of them synced into its own parent."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        sync(one.parent)
    folder.mkdir(exist_ok=True)  # refuses a file in its place


def move_folder(source: Path, target: Path, *, within: Path, sync: Sync) -> None:
    """Move a folder and sync `within`, so that the move lasts; where this raises it has not moved."""
    source.rename(target)
    try:
        sync(within)
    except BaseException:
        target.rename(source)
        raise


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove what a process that was killed had begun."""
    for path in folders:
        _logger.warning("removing what a crash left unfinished: %s", path)
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def made_aside(home: Path, fill: Callable[[Path], None], *, prefix: str, sync: Sync) -> Iterator[None]:
    """Make a folder aside and move it to its place whole; what fails, in the block too, leaves nothing.

    Args:
        home: its place.
        fill: fills it.
        prefix: of the name of the folder in which it is made, beside its place.
        sync: puts a folder's entries on the disk.
    """
    aside = Path(tempfile.mkdtemp(prefix=prefix, dir=home.parent))
    made = aside / home.name
    try:
        made.mkdir()
        fill(made)
        sync(made)
        move_folder(made, home, within=home.parent, sync=sync)
        try:
            yield
        except BaseException:
            home.rename(made)
            with contextlib.suppress(OSError):  # unsynced it may come back, and only by a power cut
                sync(home.parent)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def bytes_in(folder: Path) -> int:
    """Return the bytes of the files in a folder, as far as they stay there while they are counted."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for file in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size if file.is_file() else 0
    return total


@contextlib.contextmanager
def refusals(folder: Path) -> Iterator[None]:
    """Raise what the disk refuses in the block as a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder}: {error.strerror or error}. Check the disk and its permissions, then try again."
        ) from error


def refuse_if_in_use(data_dir: Path) -> None:
    """Raise what opening a gallery would, where another process has one in this directory.

    Raises:
        StorageError: one has.
    """
    with refusals(data_dir):
        if (data_dir / _LOCK).exists():
            os.close(lock_data_dir(data_dir))


def refuse_within(place: Path, folder: Path, holds: str) -> None:
    """Raise where something would be written among what a folder holds; links are followed.

    Args:
        place: of a folder, which need not be there.
        folder: that holds nothing else.
        holds: what.

    Raises:
        ConflictError: the place is the folder, or in it.
    """
    if place.resolve().is_relative_to(folder.resolve()):
        raise ConflictError(f"{place} is within {folder}, where {holds} are. Name a folder outside of it.")


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the lock of a directory; where the block fails, the file is there after only if it was before.

    Raises:
        StorageError: another process holds it.
    """
    new = not (data_dir / _LOCK).exists()
    held = lock_data_dir(data_dir)
    try:
        yield
    except BaseException:
        if new:
            (data_dir / _LOCK).unlink(missing_ok=True)
        raise
    finally:
        os.close(held)


def lock_data_dir(data_dir: Path) -> int:
    """Lock a data directory; see `lock`."""
    return lock(data_dir / _LOCK)


def lock(path: Path) -> int:
    """Return a descriptor that locks the file against every other process until it is closed.

    Raises:
        StorageError: another one has locked it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace") or "unknown"
            os.close(descriptor)
            raise StorageError(
                f"{path.parent} is in use by another server (process {owner}); stop it, or use another "
                "directory."
            ) from None
        if _is_at(descriptor, path):
            break
        os.close(descriptor)  # whoever held it removed it, and somebody else may have locked the next one
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
