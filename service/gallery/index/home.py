"""The index of one collection on its way between the record, memory and the disk."""

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from service.gallery.collection import CollectionConfig, Vectors
from service.gallery.folders import Sync
from service.gallery.index.accelerator import Work
from service.gallery.index.buffers import Integers
from service.gallery.index.plan import Plan, plan_for
from service.gallery.index.recent import recent_due, recent_rows
from service.gallery.index.sealed import Sealed
from service.gallery.index.sealing import due, seal
from service.gallery.index.segments import Index
from service.gallery.index.sizes import Sizes
from service.gallery.index.snapshots import Snapshot, Snapshots
from service.gallery.indexing import IndexStats

__all__ = ["IndexHome"]

_SNAPSHOTS_FOLDER = "snapshots"
_CROWDED_SHARE = 0.25  # of what `auto` scans, where it can be made fast within a moment

_logger = logging.getLogger(__name__)


class IndexHome:
    """Loads it, says when it is to be sealed, seals it, and tells how it stands.

    One thread at a time seals; what the index is, the collection knows.
    """

    def __init__(
        self, folder: Path, config: CollectionConfig, *, threads: int, sizes: Sizes, sync: Sync
    ) -> None:
        """Look after the index of the collection in a folder.

        Args:
            folder: the collection's.
            config: its.
            threads: that FAISS may use in one search.
            sizes: what counts as many.
            sync: puts a folder's entries on the disk.
        """
        self.folder, self._config, self._sizes = folder, config, sizes
        self._threads = threads
        self._snapshots = Snapshots(
            folder / _SNAPSHOTS_FOLDER, dimension=config.dimension, metric=config.metric, sync=sync
        )
        self._current: Snapshot | None = None
        self._progress: tuple[int, int] | None = None
        self._problem: str | None = None

    def load(
        self,
        labels: Integers,
        scan: Callable[[int], Iterator[tuple[Integers, Vectors]]],
        work: Work | None = None,
    ) -> Index:
        """Return the index of what the record holds: the newest snapshot less the dead, and what is newer.

        Args:
            labels: (N,) that the record holds, ascending.
            scan: yields labels and vectors of the rows above a label.
            work: is told of the rows that are read, and may stop it.

        Raises:
            Stopped: it was told to stop.
        """
        work = work or Work(self._threads, threading.Event(), lambda done, total: None)
        index = Index(
            self._config.dimension,
            self._config.metric,
            threads=self._threads,
            scanned_rows=self._sizes.scanned_rows,
        )
        if opened := self._snapshots.open(threads=self._threads, go_on=work.go_on):
            snapshot, sealed = opened
            old = labels[labels <= sealed.last_label]
            if np.isin(old, sealed.rows.labels, assume_unique=True).all():
                self._current = snapshot
                index = index.with_sealed(sealed, living=old)
            else:
                _logger.warning("%s: it is not of this record; it is made anew.", snapshot.folder)
                shutil.rmtree(snapshot.folder, ignore_errors=True)
        done, total = 0, int(np.count_nonzero(labels > index.last_label))
        for some, vectors in scan(index.last_label):
            work.go_on()
            done += len(some)
            work.told(done, total)
            index = index.changed(removed=[], labels=some, vectors=vectors)
        return index

    def due(self, index: Index, *, idle: bool = False, searched: bool = False) -> bool:
        """Return whether it is time to seal; see `sealing.due`."""
        return due(index, self._plan(index), self._current, self._sizes, idle=idle, searched=searched)

    def recent_due(self, index: Index) -> bool:
        """Return whether it is time for `recent`."""
        return recent_due(index, self._sizes)

    def recent(self, index: Index, *, stop: threading.Event) -> Sealed:
        """Return what is newer than the snapshot, made fast in memory by one thread; see `recent_rows`.

        Raises:
            Stopped: it was told to stop.
        """
        return recent_rows(index, Work(1, stop, lambda done, total: None))

    def crowded(self, index: Index) -> bool:
        """Return whether so much is scanned that more should wait until it is made fast."""
        scanned, many = index.delta.vectors.nbytes, self._sizes.scanned_bytes
        if scanned > _CROWDED_SHARE * many and self.recent_due(index):
            return True
        return scanned > many and self.due(index, searched=True)

    def seal(
        self, index: Index, *, threads: int, stop: threading.Event, idle: bool = False
    ) -> tuple[Snapshot, Sealed]:
        """Write a snapshot of the index as it is; see `sealing.seal`. It counts once `settle` was called.

        Raises:
            Stopped: it was told to stop.
            OSError: the disk refused.
        """
        plan = self._plan(index)
        self._progress = (0, len(index))
        try:
            work = Work(threads, stop, self._note)
            return seal(index, plan, self._current, self._snapshots, work, idle=idle)
        except OSError as error:
            self._problem = f"The last snapshot could not be written: {error.strerror or error}."
            raise
        finally:
            self._progress = None

    def settle(self, snapshot: Snapshot, refuse: Callable[[], None]) -> None:
        """Take note that the index has a snapshot's rows now, and remove the ones before.

        Args:
            snapshot: that was made.
            refuse: raises where the collection was dropped meanwhile; in its folder there may be another.
        """
        try:
            refuse()
        except BaseException:
            shutil.rmtree(snapshot.folder, ignore_errors=True)
            raise
        self._current, self._problem = snapshot, None
        self._snapshots.remove_others(snapshot.folder)

    def wipe(self, index: Index) -> Index:
        """Return the index once no file holds a dead row of it, nor codes in memory.

        Raises:
            OSError: the disk refused.
        """
        sealed, current = index.sealed, self._current
        self._snapshots.remove_others(current.folder if current else None)  # a kill leaves the last one
        if sealed is None or current is None:
            return index
        dead = np.flatnonzero(~sealed.rows.alive)
        if not len(dead):
            return index
        if self._snapshots.erase(current, dead):
            return index.forgetting()
        self._current = None
        self._snapshots.remove_others(None)
        return index.unsealed()

    def stats(self, index: Index) -> IndexStats:
        """Return how it stands."""
        asked, plan, current = self._config.index_type, self._plan(index), self._current
        served = current.plan if current else Plan("flat")
        progress = self._progress
        # One that is due waits for those of other collections, or is not made for the problem.
        coming = progress or (not self._problem and not served.same_kind(plan) and self.due(index))
        return IndexStats(
            type=asked,
            chosen=served.kind,
            quantization=served.quantization,
            why=plan.why if served.same_kind(plan) else f"{plan.name} is to come: {plan.why}",
            state="building" if coming else "ready",
            progress=progress[0] / max(progress[1], 1) if progress else None,
            sealed=index.sealed.rows.rows if index.sealed else 0,
            pending=len(index.delta) + (len(index.recent.rows) if index.recent else 0),
            dead_share=index.sealed.dead_share if index.sealed else 0.0,
            parameters=_parameters(served, current),
            snapshot_s=current.written_s if current else None,
            build_s=current.build_s if current else None,
            problem=self._problem,
        )

    def _plan(self, index: Index) -> Plan:
        return plan_for(
            self._config.index_type,
            self._config.index,
            rows=len(index),
            dimension=self._config.dimension,
            metric=self._config.metric,
            sizes=self._sizes,
        )

    def _note(self, done: int, total: int) -> None:
        self._progress = (done, total)


def _parameters(plan: Plan, snapshot: Snapshot | None) -> dict[str, int]:
    """Return the numbers with which it is built and searched, by the field's names."""
    built = {"m": plan.m, "ef_construction": plan.ef_construction, "nlist": plan.nlist}
    numbers = {name: number for name, number in built.items() if number}
    if snapshot and snapshot.effort:
        with contextlib.suppress(KeyError):
            name = {"hnsw": "ef_search", "ivf": "nprobe", "flat": "candidates"}[plan.kind]
            numbers[name] = min(snapshot.width.items())[1]
    return numbers
