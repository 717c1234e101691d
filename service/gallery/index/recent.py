"""Recent rows: newer than the snapshot, in memory, with what makes them fast.

A snapshot writes all rows again. Where searches go on beside an import this comes seldom, and meanwhile what
is new gets an accelerator of its own, which grows by what is newer still and is lost with the process.
"""

from dataclasses import replace

from service.gallery.index.accelerator import Work, build
from service.gallery.index.sealed import Sealed
from service.gallery.index.segments import Index
from service.gallery.index.sizes import Sizes

__all__ = ["can_be_recent", "recent_due", "recent_rows"]

_SHARE_OF_SCAN = 1 / 16  # of what `auto` scans: a tenth of a millisecond, where the rows are in no cache
_SHARE_OF_RECENT = 0.02  # whose graph is copied each time
_MOST_DEAD_SHARE = 0.3  # of them: beyond it they are made anew


def can_be_recent(index: Index) -> bool:
    """Return whether new rows can be made as fast as the sealed ones: where that needs no training."""
    return bool(index.sealed and index.sealed.accelerator and index.sealed.accelerator.plan.storage_apart)


def recent_due(index: Index, sizes: Sizes) -> bool:
    """Return whether so much of what is new is scanned that it should be made fast.

    Args:
        index: as it is now.
        sizes: what counts as many.
    """
    new, row_bytes = len(index.delta), 4 * index.dimension
    recent = index.recent.rows.rows if index.recent else 0
    most = max(_SHARE_OF_SCAN * sizes.scanned_bytes, _SHARE_OF_RECENT * recent * row_bytes)
    return new * row_bytes > most and can_be_recent(index)


def recent_rows(index: Index, work: Work) -> Sealed:
    """Return all rows that are newer than the sealed ones, with an accelerator like theirs.

    A graph of fewer rows finds more with the same effort, so that it takes theirs.

    Args:
        index: as it is when this begins, of which `can_be_recent` holds.
        work: how it is done.

    Raises:
        Stopped: it was told to stop.
    """
    assert index.sealed
    assert index.sealed.accelerator
    like, recent, delta = index.sealed.accelerator, index.recent, index.delta
    if recent and recent.accelerator and recent.dead_share <= _MOST_DEAD_SHARE:
        rows = recent.rows.joined(delta)
        fast = recent.accelerator.copied().grown(rows.vectors, work)
    else:
        rows = index.newer(in_place=True)
        plan = replace(like.plan, ef_construction=max(1, like.plan.ef_construction // 2))
        fast = build(rows.vectors, index.metric, plan, work, first=rows.rows)
    return Sealed(rows, replace(fast, effort=like.effort, threads=index.threads))
