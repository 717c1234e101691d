"""Going past damaged rows while a collection is served."""

import contextlib
import logging
from pathlib import Path

import numpy as np

from service.errors import StorageError
from service.gallery.damage import DamagedRows
from service.gallery.index.segments import Index
from service.gallery.opened import ask_for_check
from service.gallery.store import Record

__all__ = ["without_damaged"]

_logger = logging.getLogger(__name__)


def without_damaged(path: Path, record: Record, index: Index, rows: DamagedRows) -> Index:
    """Return an index without the damaged rows that it holds, and note them; in one writer's turn.

    The record counts them as damaged from then on, the log names them, and the next start mends it.

    Args:
        path: of the record.
        record: that has them.
        index: of it.
        rows: that were found damaged; those that are noted already, or have been deleted since, are no news.
    """
    labels = np.array(sorted(rows.keys() - record.damaged.keys()), np.int64)
    labels = labels[index.holds(labels)]
    if not len(labels):
        return index
    rest = index.without(labels)
    found = {label: rows[label] for label in labels.tolist()}
    record.leave_out(found)
    names = ", ".join("one whose id is lost" if name is None else repr(name) for name, _ in found.values())
    _logger.error(
        "%s: %d damaged items are left out (%.1000s); the next start of the server mends it.",
        path,
        len(found),
        names,
    )
    with contextlib.suppress(StorageError):  # the check in the background finds them once more
        ask_for_check(path)
    return rest
