"""The gallery on this machine: a folder of collections, locked against a second server."""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Self

from service.errors import ConflictError, NotReadyError, StorageError
from service.gallery.collection import Collection, CollectionConfig
from service.gallery.differences import refuse_difference
from service.gallery.embedded import EmbeddedCollection
from service.gallery.folders import (
    Sync,
    lock_data_dir,
    made_aside,
    make_folder,
    move_folder,
    refusals,
    remove_leftovers,
    sync_folder,
)
from service.gallery.index.accelerator import Work
from service.gallery.index.sizes import Sizes
from service.gallery.names import NAME, not_found, refuse_name
from service.gallery.opening import Opening, Outcome
from service.gallery.scrubbing import Scrubbing
from service.gallery.upkeep import Upkeep

__all__ = ["COLLECTIONS_FOLDER", "Gallery"]

COLLECTIONS_FOLDER = "collections"
_USUAL = Sizes()
_UNFINISHED = ".unfinished-"  # a collection being made or removed; no collection's name begins with a dot


class Gallery:
    """The collections in a data directory. Thread-safe; `get` and `refuse_while_opening` do not block.

    On disk: `lock`, held as long as it is open, and `collections/<name>/`, each whole or not there.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        faiss_threads: int = 1,
        sizes: Sizes = _USUAL,
        scrub_hours: float = 24.0,
        sync: Sync = sync_folder,
        opened: "Future[Outcome] | None" = None,
    ) -> None:
        """Open every collection, or begin to; one that cannot be is logged, and its error is its answer.

        Args:
            data_dir: made where it is missing.
            faiss_threads: how many threads one search, and the building of an index, may use.
            sizes: what counts as many.
            scrub_hours: from one check of a collection's checksums to the next; 0 for none.
            sync: puts a folder's entries on the disk; tests let it fail.
            opened: where given, they are opened in a thread; its result is what came of it.

        Raises:
            StorageError: another process uses the directory, or the disk refused it.
        """
        self._folder = data_dir / COLLECTIONS_FOLDER
        self._faiss_threads = faiss_threads
        self._sizes = sizes
        self._sync = sync
        self._upkeep: Upkeep | None = None
        self._scrubbing: Scrubbing | None = None
        self._opening = Opening(self._open_and_keep, threads=faiss_threads)
        self._collections: dict[str, EmbeddedCollection] = {}
        self._coming: set[str] = set()  # names of those that are being restored
        self._turn = threading.Lock()
        self._closed = False
        with refusals(data_dir):
            make_folder(self._folder, sync)
            sync(data_dir)  # also where a start before this one made it, and was killed
            self._lock_file = lock_data_dir(data_dir)
        try:
            remove_leftovers(self._folder.glob(f"{_UNFINISHED}*"))
            self._opening.expect(sorted(filter(NAME.fullmatch, (one.name for one in self._folder.iterdir()))))
            if opened is None:
                self._opening.run()
            present = partial(list[EmbeddedCollection], self._collections.values())  # when it is called
            self._upkeep = Upkeep(present, threads=faiss_threads)
            self._upkeep.written()
            if scrub_hours:
                self._scrubbing = Scrubbing(present, every_s=3600 * scrub_hours)
            if opened is not None:
                self._opening.start(opened)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, name: str, config: CollectionConfig) -> tuple[Collection, bool]:
        """Return the collection of that name, made if it is new, and whether it was.

        Raises:
            RequestError: the name is none that a collection can have.
            ConflictError: it exists with another configuration.
            OpeningError: it is not open yet.
            StorageError: the disk refused; there is no new collection.
        """
        refuse_name(name, "collection")
        with self._turn:
            self._refuse_if_not_free(name)
            existing = self._collections.get(name)
            if existing is not None:
                refuse_difference(existing, config)
                return existing, False
            with self._made(name, lambda folder: EmbeddedCollection.create(folder, config)) as collection:
                self._collections[name] = collection
            return collection, True

    def adopt(self, name: str, fill: Callable[[Path], None], work: Work) -> Collection:
        """Return a new collection, of the record that `fill` puts into a folder. Nobody has to wait for that.

        Args:
            name: its.
            fill: puts the record into an empty folder.
            work: is told of the rows as they are read, and may stop that.

        Raises:
            RequestError: the name is none that a collection can have.
            ConflictError: there is a collection of that name.
            StorageError: the record is damaged, or the disk refused; there is no new collection.
            Stopped, NotReadyError: it was told to stop, the gallery is closed; likewise.
        """
        refuse_name(name, "collection")
        with self._turn:
            self._refuse_if_not_free(name)
            if name in self._collections:
                raise ConflictError(f"There is a collection {name!r} already; use another name.")
            self._coming.add(name)
        try:
            with self._made(name, fill, work) as collection, self._turn:
                self._refuse_if_closed()
                self._collections[name] = collection
        finally:
            self._coming.discard(name)
        self._note_write()
        return collection

    def get(self, name: str) -> Collection:
        """Return the collection of that name, from memory and without waiting for anyone.

        Raises:
            NotFoundError: there is none; the message names those that are close.
            OpeningError: it is not open yet.
            StorageError: it could not be opened; says why, and what to do.
            NotReadyError: the gallery is closed.
        """
        return self._get(name)

    def list(self) -> Sequence[Collection]:
        """Return the collections, in the order of their names. Any of them may be dropped meanwhile.

        Raises:
            OpeningError: some are not open yet: a list without them would be believed.
            NotReadyError: the gallery is closed.
        """
        self.refuse_while_opening()
        with self._turn:
            self._refuse_if_closed()
            return [self._collections[name] for name in sorted(self._collections)]

    def unopened(self) -> Mapping[str, StorageError]:
        """Return why collections could not be opened, by name."""
        with self._turn:
            return dict(sorted(self._opening.failed.items()))

    def refuse_while_opening(self) -> None:
        """Raise OpeningError, which says how far that is, where a collection is not open yet."""
        if self._opening.waiting:
            raise self._opening.refusal()

    def drop(self, name: str) -> int:
        """Remove a collection and all that it holds, and return how many items that were.

        Of one that could not be opened these are 0. Once this returns it never comes back. Whoever still uses
        it gets CollectionDroppedError.

        Raises:
            NotFoundError: there is none of that name.
            OpeningError: it is not open yet.
            NotReadyError: the gallery is closed.
            StorageError: the disk refused; the collection is there as before.
        """
        with contextlib.ExitStack() as afterwards, self._turn, refusals(self._folder):
            self._refuse_if_closed()
            collection = None if name in self._opening.failed else self._get(name)
            aside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
            # Others need not wait for this, and what stays is removed at the next start.
            afterwards.callback(shutil.rmtree, aside, ignore_errors=True)
            if collection is not None:
                return self._move_out(collection, aside)
            move_folder(self._folder / name, aside / name, within=self._folder, sync=self._sync)
            del self._opening.failed[name]
            return 0

    def close(self) -> None:
        """Close every collection and let another process have the directory. Closing twice is fine."""
        self._opening.stop()
        with self._turn, contextlib.ExitStack() as stack:
            if self._closed:
                return
            self._closed = True
            stack.callback(os.close, self._lock_file)
            for collection in self._collections.values():
                stack.callback(collection.close)
            for background in (self._scrubbing, self._upkeep):
                if background:
                    stack.callback(background.close)
            self._collections.clear()

    def _open_and_keep(self, name: str, work: Work) -> int:
        """Open a collection for everybody, and return how many items it has."""
        collection = self._open(name, work)
        with self._turn:
            self._collections[name] = collection
        self._note_write()
        return collection.stats().items

    def _get(self, name: str) -> EmbeddedCollection:
        waiting = name in self._opening  # asked first, for it may be opened right now
        if collection := self._collections.get(name):
            return collection
        self._refuse_if_closed()
        if waiting:
            raise self._opening.refusal(name)
        self._opening.refuse_failed(name)
        raise not_found(name, [*self._collections, *self._opening.waiting], "collection")

    def _open(self, name: str, work: Work | None = None) -> EmbeddedCollection:
        return EmbeddedCollection(
            self._folder / name,
            faiss_threads=self._faiss_threads,
            sizes=self._sizes,
            sync=self._sync,
            noted=self._note_write,
            work=work,
        )

    def _note_write(self) -> None:
        if self._upkeep:
            self._upkeep.written()

    @contextlib.contextmanager
    def _made(
        self, name: str, fill: Callable[[Path], None], work: Work | None = None
    ) -> Iterator[EmbeddedCollection]:
        """Make one aside, move it to its name, and open it; what fails, in the block too, leaves nothing."""
        with (
            refusals(self._folder),
            made_aside(self._folder / name, fill, prefix=_UNFINISHED, sync=self._sync),
        ):
            collection = self._open(name, work)
            try:
                yield collection
            except BaseException:
                collection.close()
                raise

    def _move_out(self, collection: EmbeddedCollection, aside: Path) -> int:
        """Close a collection, move its folder aside, and return its items; what fails opens it again."""
        name = collection.name
        items = collection.retire()  # before it moves: SQLite finds its log by path
        del self._collections[name]
        try:
            move_folder(self._folder / name, aside / name, within=self._folder, sync=self._sync)
        except BaseException:
            self._collections[name] = self._open(name)
            raise
        return items

    def _refuse_if_not_free(self, name: str) -> None:
        """Refuse a name that a collection has which is not open yet, or will have."""
        self._refuse_if_closed()
        if name in self._opening:
            raise self._opening.refusal(name)
        self._opening.refuse_failed(name)
        if name in self._coming:
            raise ConflictError(f"A collection {name!r} is being restored; wait, or use another name.")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise NotReadyError("The gallery is closed.")
