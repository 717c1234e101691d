"""Folders of what is not done: locked meanwhile, so that what a killed process has left can be told."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from service.errors import StorageError
from service.gallery.folders import lock

__all__ = ["begun_in", "remove_abandoned"]

_PREFIX = ".unfinished-"
_LOCK, _MADE = "lock", "made"

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def begun_in(folder: Path) -> Iterator[Path]:
    """Make an empty folder within another that only its owner can read; what is in it after is removed.

    It may be moved away, and then stays. Where this process is killed, `remove_abandoned` removes it.
    """
    aside = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    held = lock(aside / _LOCK)
    try:
        made = aside / _MADE
        made.mkdir(mode=0o700)
        yield made
    finally:
        _remove(aside)
        os.close(held)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that are gone had begun in a folder, and nothing that is under way."""
    for aside in folder.glob(f"{_PREFIX}*"):
        if (aside / _LOCK).exists():
            with contextlib.suppress(StorageError, OSError):  # under way, just done, or another user's
                held = lock(aside / _LOCK)
                _logger.warning("removing what a crash left unfinished: %s", aside)
                _remove(aside)
                os.close(held)


def _remove(aside: Path) -> None:
    """Remove what was made, then the lock: what is without one is left alone."""
    for path in (aside / _MADE, aside):
        shutil.rmtree(path, ignore_errors=True)
