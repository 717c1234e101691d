"""A collection on this machine: the record, the index that is a cache of it, and one lock for writers."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from service.errors import RequestError
from service.gallery.collection import (
    CollectionConfig,
    Match,
    NewItem,
    Page,
    SearchOptions,
    StoredItem,
    Vectors,
    Written,
)
from service.gallery.commits import Change, Commits, Operation, merged
from service.gallery.damage import DamagedRows, of_identity
from service.gallery.drawing import drawn
from service.gallery.erasing import Eraser
from service.gallery.filters import Filter
from service.gallery.folders import Sync, bytes_in, refusals, sync_folder
from service.gallery.identities import Erased, Identity, IdentityPage, Merged
from service.gallery.index.accelerator import Work
from service.gallery.index.home import IndexHome
from service.gallery.index.segments import Index
from service.gallery.index.sizes import Sizes
from service.gallery.indexing import CollectionStats
from service.gallery.items import name_problem
from service.gallery.leaving_out import without_damaged
from service.gallery.opened import opened
from service.gallery.operations import deletion, deletion_where, erasure, merge, replacement
from service.gallery.options import LeftOut
from service.gallery.pages import page
from service.gallery.record_writer import RecordWriter
from service.gallery.scrub import Scrub
from service.gallery.sealer import Sealer
from service.gallery.searching import Sources
from service.gallery.store import Record
from service.gallery.undisturbed import Undisturbed
from service.gallery.upserts import latest, prepared_rows, written

__all__ = ["RECORD_FILE", "EmbeddedCollection"]

RECORD_FILE = "record.sqlite3"
_USUAL = Sizes()
_NAMED = 100  # damaged items of an identity


class EmbeddedCollection:
    """Keeps `Collection` with SQLite and FAISS, in one folder.

    Writes that wait at the same time share a commit. It prepares the next index, commits the record, and only
    then swaps the index: whatever fails leaves both as they were. A search waits for nobody.
    """

    def __init__(
        self,
        folder: Path,
        *,
        faiss_threads: int = 1,
        sizes: Sizes = _USUAL,
        sync: Sync = sync_folder,
        noted: Callable[[], None] = lambda: None,
        work: Work | None = None,
    ) -> None:
        """Open the collection in a folder; the folder's name is its own.

        Args:
            folder: where it lies.
            faiss_threads: how many threads one search may use.
            sizes: what counts as many.
            sync: puts a folder's entries on the disk; tests let it fail.
            noted: called after each write, by whoever wrote.
            work: is told of the rows that are read, and may stop that.

        Raises:
            Stopped: it was told to stop.
            StorageError: its record is missing or damaged (DamageError), or of a newer version of this
                program.
        """
        self._folder, self._noted = folder, noted
        self._write_turn = threading.Lock()
        self._commits = Commits(self._commit)
        parts = opened(
            folder / RECORD_FILE,
            lambda config: IndexHome(folder, config, threads=faiss_threads, sizes=sizes, sync=sync),
            work,
        )
        self._record, self._home, self._index = parts.record, parts.home, parts.index
        self.scrub = Scrub(self._record, folder / RECORD_FILE, parts.findings, self._forget, self._leave_out)
        self._sources = Sources.of(self._record)
        self._undisturbed = Undisturbed(
            self.name, lambda: (self._sources, self._index), self._write_turn, leave_out=self._leave_out
        )
        try:
            self._eraser = Eraser(self._record, write_turn=self._write_turn, wipe_index=self._wipe_index)
        except BaseException:
            self._record.close()
            raise
        self._sealer = Sealer(
            self._record,
            self._home,
            eraser=self._eraser,
            searches=self._undisturbed,
            index=lambda: self._index,
            swap=self._swap,
        )

    @staticmethod
    def create(folder: Path, config: CollectionConfig) -> None:
        """Make an empty collection in an existing, empty folder."""
        Record.create(folder / RECORD_FILE, config).close()

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self._folder.name

    @property
    def config(self) -> CollectionConfig:
        """Return what it was created for."""
        return self._record.config

    @property
    def erasing(self) -> bool:
        """Return whether files may still hold something of what was erased."""
        return self._eraser.busy

    def upsert(self, items: Sequence[NewItem], *, all_or_none: bool = False) -> list[Written]:
        """Write items by id, in order; see `Collection`."""
        with self._sealer.rest.after(len(items)):
            prepared = prepared_rows(items, self.config, self._undisturbed.paced, all_or_none=all_or_none)
            rows = latest(prepared)
            change = self._write(replacement(rows), rows=len(rows)) if rows else Change(())
        return written(prepared, set(change.before))

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the items of these ids; see `Collection`."""
        possible = {item_id for item_id in ids if name_problem(item_id) is None}
        return self._write(deletion(possible), rows=len(possible)).deleted

    def delete_where(self, condition: Filter) -> int:
        """Delete the items that pass the filter; see `Collection`."""
        return self._write(deletion_where(condition)).deleted

    def get(self, item_id: str, *, with_vector: bool = False) -> StoredItem | None:
        """Return one item, or None."""
        if name_problem(item_id):
            return None
        return self._undisturbed.leaving_out(lambda: self._record.get(item_id, with_vector=with_vector))

    def picture(self, item_id: str) -> bytes | None:
        """Return the small picture that was kept of an item, or None; see `Collection`."""
        return None if name_problem(item_id) else self._record.picture(item_id)

    def page(
        self,
        *,
        limit: int,
        identity: str | None = None,
        cursor: str | None = None,
        with_vector: bool = False,
    ) -> Page:
        """Return up to `limit` items after `cursor`; see `Collection`."""
        found, damaged = page(self._record, limit, identity, cursor, with_vector=with_vector)
        self._leave_out(damaged)
        return found

    def search(
        self, queries: Vectors, options: SearchOptions, *, left_out: Sequence[LeftOut] = ()
    ) -> Sequence[Sequence[Match]]:
        """Return each query's matches, nearest first; see `Collection`."""
        return self._undisturbed.search(queries, options, left_out)

    def search_in_memory(self, queries: Vectors, options: SearchOptions) -> Sequence[Sequence[Match]] | None:
        """Return what `search` does, or None; see `Collection`."""
        return self._undisturbed.search_in_memory(queries, options)

    def crowded(self) -> bool:
        """Return whether searches are slowed by what was or is written; see `Collection`."""
        return self._sealer.crowded()

    def identities(self, *, limit: int, cursor: str | None = None) -> IdentityPage:
        """Return up to `limit` identities after `cursor`; see `Collection`."""
        found = self._record.identities(after=cursor or "", limit=limit + 1)
        return IdentityPage(found[:limit], found[limit - 1].name if len(found) > limit else None)

    def identity(self, name: str) -> Identity | None:
        """Return an identity, or None."""
        return None if name_problem(name) else self._record.identity(name)

    def damaged_of(self, name: str) -> tuple[str | None, ...]:
        """Return ids of damaged items that are an identity's, or may be; see `Collection`."""
        return tuple(row[0] for _, row in sorted(of_identity(self._record.damaged, name).items()))[:_NAMED]

    def erase(self, name: str) -> Erased:
        """Delete an identity's items, from every file too; see `Collection`."""
        deleted = 0 if name_problem(name) else self._write(erasure(name, self._eraser)).deleted
        if deleted:
            self._forget()
        return Erased(deleted, erased=self._eraser.wiped() if deleted else not self.erasing)

    def merge(self, name: str, into: str) -> Merged:
        """Give the items of an identity to another; see `Collection`."""
        if problem := name_problem(into):
            raise RequestError(f"The identity {problem}.")
        if name == into or name_problem(name):
            return Merged(0)
        change = self._write(merge(name, into, self.config))
        self._leave_out({label: (item_id, into) for label, item_id in change.damaged.items()})
        return Merged(len(change.labels), tuple(item_id for _, item_id in sorted(change.damaged.items())))

    def draw(self, count: int, *, seed: int) -> list[StoredItem]:
        """Return up to `count` items at random; see `Collection`."""
        return self._undisturbed.past_damage(lambda: drawn(self._record, self._index, count, seed=seed))

    def stats(self) -> CollectionStats:
        """Return how it stands."""
        index = self._index
        with refusals(self._folder):
            disk_bytes = bytes_in(self._folder)
        self._record.refuse_if_closed()  # asked last: up to here its files were its own
        memory = index.memory_bytes + self._sources.memory_bytes
        standing, integrity = self._home.stats(index), self.scrub.integrity
        return CollectionStats(len(index), disk_bytes, memory, standing, integrity, erasing=self.erasing)

    def seal(self, *, threads: int = 1, stop: threading.Event | None = None, idle: bool = False) -> bool:
        """Write a snapshot if it is time, search by it from then on, and return whether it was.

        Only one thread may call it. Searches and writes go on meanwhile.

        Args:
            threads: that it may use.
            stop: ends it within a moment.
            idle: whether nothing has been written for a while, so that less is worth it.

        Raises:
            Stopped: it was told to stop.
            StorageError: the disk refused; all is as it was.
        """
        return self._sealer.seal(threads=threads, stop=stop or threading.Event(), idle=idle)

    def catch_up(self, stop: threading.Event | None = None) -> bool:
        """Make what is new fast in memory, where searches scan much of it, and return whether it was.

        Only one thread may call it; another one may seal meanwhile. See `seal` for the rest.

        Raises:
            Stopped: it was told to stop; all is as it was.
        """
        return self._sealer.catch_up(stop or threading.Event())

    def close(self) -> None:
        """Wait for the calls that are under way, and release what it holds. What was written stays."""
        with self._write_turn:
            self._record.close()

    def retire(self) -> int:
        """Close it because it is being dropped, and return how many items it has: no write comes after.

        Whoever still calls it gets CollectionDroppedError.
        """
        self._record.close(dropped=True)  # first: a writer may wait for what ends where it is closed
        with self._write_turn:
            return len(self._index)

    def _write(self, operation: Operation, *, rows: int = 1) -> Change:
        change = self._commits.write(operation, rows=rows)
        self._noted()
        return change

    def _forget(self) -> None:
        """Ask the record again for what was remembered of it."""
        self._sources = Sources.of(self._record)

    def _leave_out(self, rows: DamagedRows) -> None:
        """Go past rows that are damaged from now on."""
        if not rows.keys() <= self._record.damaged.keys():  # as a rule: who reads waits for no writer
            with self._write_turn:
                path = self._folder / RECORD_FILE
                self._index = without_damaged(path, self._record, self._index, rows)

    def _swap(self, change: Callable[[Index], Index]) -> None:
        """Search by another index from now on."""
        with self._write_turn:
            self._index = change(self._index)

    def _wipe_index(self) -> None:
        with refusals(self._folder):
            self._swap(self._home.wipe)

    def _commit(self, write: Callable[[RecordWriter], list[Change]]) -> None:
        with self._write_turn:
            with self._record.writing() as writer:
                removed, labels, vectors = merged(write(writer), self.config.dimension)
                index = self._index.changed(removed=removed, labels=labels, vectors=vectors)
            self._index = index
