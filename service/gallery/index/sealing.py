"""Sealing: what is alive becomes a snapshot, and the snapshot the sealed rows of the next index."""

import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.accelerator import Accelerator, Work, build
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import FlatIndex, Mask
from service.gallery.index.plan import Plan
from service.gallery.index.recent import can_be_recent
from service.gallery.index.sealed import Sealed
from service.gallery.index.segments import Index
from service.gallery.index.sizes import Sizes
from service.gallery.index.snapshots import Snapshot, SnapshotError, Snapshots, saved_in, vectors_in
from service.gallery.index.tuning import is_exhausted, trial_rows, tuned
from service.gallery.index.vector_files import in_parts, open_vectors, write_vectors

__all__ = ["due", "seal"]

_DEAD_SHARE = 0.2  # of the sealed rows: from here on they are made anew
_AGAIN = 2.0  # codes and lists are learnt anew from so many times as many rows
_TUNED_AGAIN = 1.1  # the effort is, too
_TRIED_WITH = 100  # rows at least, so that chance does not tune it
_TUNED_IDLY, _TRIED_IDLY = 1.02, 2_000  # where there is time, and enough to try it with, for less
_SCANNED_BYTES = 4 * 2**20  # of what is new, beside an accelerator: half a millisecond
_SCANNED_SHARE = 0.02  # of what is sealed, which every snapshot writes again
_SEARCHED_SHARE = 0.1  # where searches would be slowed by that
_NEW_SHARE = 0.1  # of what is scanned anyway: it only has to be read again at the next start


def due(
    index: Index,
    plan: Plan,
    before: Snapshot | None,
    sizes: Sizes,
    *,
    idle: bool = False,
    searched: bool = False,
) -> bool:
    """Return whether it is time to seal.

    Args:
        index: as it is now.
        plan: what its rows should get now.
        before: the snapshot of what is sealed.
        sizes: what counts as many.
        idle: whether nothing was written for a while: then less is worth it.
        searched: whether searches would be slowed; see `recent`.
    """
    sealed, few = index.sealed, sizes.sealed_rows
    new = len(index.delta) + (len(index.recent.rows) if index.recent else 0)
    if not len(index):
        return False  # codes and lists cannot be learnt from nothing
    if sealed is None or before is None:
        return new >= few
    rows = sealed.rows.rows
    if not plan.same_kind(before.plan) or (sealed.dead_share > _DEAD_SHARE and rows >= few):
        return True
    if idle:
        return new >= few
    if plan.approximate:
        share = _SEARCHED_SHARE if searched and can_be_recent(index) else _SCANNED_SHARE
        most = max(_SCANNED_BYTES, share * 4 * rows * index.dimension)
        return 4 * new * index.dimension > most
    return new > max(few, _NEW_SHARE * rows)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is sealed, by (N,) int64 labels: rows that were sealed before, and then what is new.

    Attributes:
        labels: of all, ascending.
        sources: (S, D) float32 rows, sealed ones first, and (S,) which of them live on, for each part.
        grown_from: the snapshot whose rows are the first, if any.
    """

    labels: Integers
    sources: Sequence[tuple[Vectors, Mask]]
    grown_from: Snapshot | None

    @property
    def shape(self) -> tuple[int, int]:
        """Return how many rows it has, and their dimension."""
        return len(self.labels), self.sources[0][0].shape[1]

    def parts(self) -> Iterator[Vectors]:
        """Yield (n, D) the rows in order, some at a time: all at once would take as much memory again."""
        for vectors, kept in self.sources:
            yield from in_parts(vectors, kept)


def seal(
    index: Index,
    plan: Plan,
    before: Snapshot | None,
    snapshots: Snapshots,
    work: Work,
    *,
    idle: bool = False,
) -> tuple[Snapshot, Sealed]:
    """Write what is alive as a snapshot and return it, and its rows as they are read from there.

    The snapshot before is left as it is. Where it can grow it is grown, with its dead rows, which the next
    index has to leave out.

    Args:
        index: as it is when this begins; what comes later is not in the snapshot.
        plan: what its rows get.
        before: the snapshot of the index's sealed rows, where they have one.
        snapshots: where it goes.
        work: how it is done.
        idle: whether nothing was written for a while: then its effort is found anew sooner.

    Raises:
        Stopped: it was told to stop; nothing has changed.
        OSError: the disk refused; nothing has changed.
    """
    began = time.monotonic()
    made = snapshots.new_folder()
    try:
        rows, known = _chosen(index, plan, before, idle=idle)
        old, total = rows.grown_from, len(rows.labels)
        if old:
            plan = dataclasses.replace(old.plan, why=plan.why, effort=plan.effort)
        write_vectors(vectors_in(made), rows.parts(), rows.shape, index.metric, go_on=work.go_on)
        effort: Mapping[int, int] = {}
        if plan.approximate:
            plan, effort = _accelerated(made, plan, rows, known, metric=index.metric, work=work)
        trained_rows, tuned_rows = old.trained_rows if old else total, known.tuned_rows if known else total
        facts = (trained_rows, tuned_rows, time.monotonic() - began, time.time(), total)
        kept = snapshots.keep(made, Snapshot(made, plan, effort, *facts), rows.labels, go_on=work.go_on)
        made = kept.folder
        return snapshots.load(made, threads=index.threads, go_on=work.go_on)
    except SnapshotError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise OSError(f"a snapshot was not read as it had been written ({error})") from error
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _chosen(
    index: Index, plan: Plan, before: Snapshot | None, *, idle: bool
) -> tuple[_Rows, Snapshot | None]:
    """Return what is sealed, and the snapshot whose effort will do for that, if any."""
    rows = _rows(index, plan, before)
    old, total = rows.grown_from, len(rows.labels)
    new = total - (index.sealed.rows.rows if old and index.sealed else 0)
    if old is None or _still_tuned(old, total, new, idle=idle):
        return rows, old
    if new < _TRIED_WITH:  # too few of them to try it with: it is built anew, of what is alive
        rows = _rows(index, plan, None)
    return rows, None


def _still_tuned(old: Snapshot, rows: int, new: int, *, idle: bool) -> bool:
    """Return whether its effort will do for so many rows, of which some are new."""
    grown = rows / old.tuned_rows
    if not old.effort or (idle and grown >= _TUNED_IDLY and new >= _TRIED_IDLY):
        return False
    return grown < _TUNED_AGAIN or (new < _TRIED_WITH and grown < _AGAIN)


def _accelerated(
    made: Path, plan: Plan, rows: _Rows, known: Snapshot | None, *, metric: CollectionMetric, work: Work
) -> tuple[Plan, Mapping[int, int]]:
    """Build and save what makes the rows of a snapshot fast; return what it became, and its effort.

    Args:
        made: the snapshot's folder, in which its rows are.
        plan: what to build.
        rows: that were written there.
        known: the snapshot whose effort will do, if any.
        metric: how they are compared.
        work: how it is done.

    Raises:
        Stopped: it was told to stop.
        OSError: the disk refused.
    """
    # Let go of when this returns: what is mapped stays in the page cache in small pages (`Snapshots.keep`).
    vectors, old = open_vectors(vectors_in(made), rows.shape), rows.grown_from
    first = len(vectors) if known else trial_rows(len(vectors))
    fast = build(vectors, metric, plan, work, first=first, grown_from=old.files if old else None)
    fast = fast.with_effort(known.effort) if known else _tuned(fast, rows.labels, vectors, metric, work)
    if not known and plan.halved and plan.effort is None and is_exhausted(fast):
        # Copies do not tell rows apart that lie very close together, however wide the search.
        plan = dataclasses.replace(plan, halved=False)
        fast = build(vectors, metric, plan, work, first=first)
        fast = _tuned(fast, rows.labels, vectors, metric, work)
    fast.grown(vectors, work).save(saved_in(made, plan))
    return plan, fast.effort


def _tuned(
    fast: Accelerator, labels: Integers, vectors: Vectors, metric: CollectionMetric, work: Work
) -> Accelerator:
    """Return it with the effort that finds the neighbours of the rows that it does not have yet."""
    there = fast.rows
    flat = FlatIndex.over(labels[:there], vectors[:there], metric, threads=work.threads)
    return tuned(fast, flat, vectors[there:], work)


def _rows(index: Index, plan: Plan, before: Snapshot | None) -> _Rows:
    """Return the rows to seal: the sealed ones as they are and the new ones, or all that live."""
    sealed = index.sealed
    parts = [index.recent.rows, index.delta] if index.recent else [index.delta]
    labels = np.concatenate([part.labels[part.alive] for part in parts])
    new = [(part.vectors, part.alive) for part in parts]
    if sealed is None:
        return _Rows(labels, new, None)
    grows = (
        before is not None
        and plan.approximate
        and before.plan.same_kind(plan)
        and sealed.accelerator is not None
        and sealed.dead_share <= _DEAD_SHARE
        and (plan.storage_apart or sealed.rows.rows + len(labels) <= _AGAIN * before.trained_rows)
    )
    kept = np.ones(sealed.rows.rows, np.bool_) if grows else sealed.rows.alive
    labels = np.concatenate([sealed.rows.labels[kept], labels])
    return _Rows(labels, [(sealed.rows.vectors, kept), *new], before if grows else None)
