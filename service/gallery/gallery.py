"""The gallery on this machine: a folder of collections, locked against a second server."""

import contextlib
import dataclasses
import difflib
import fcntl
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from service.errors import ConflictError, NotFoundError, NotReadyError, RequestError, StorageError
from service.gallery.collection import Collection, CollectionConfig
from service.gallery.embedded import EmbeddedCollection
from service.gallery.folders import Sync, make_folder, move_folder, refusals, sync_folder
from service.gallery.index.sizes import Sizes
from service.gallery.upkeep import Upkeep

__all__ = ["COLLECTIONS_FOLDER", "NAME", "Gallery", "lock"]

COLLECTIONS_FOLDER = "collections"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_USUAL = Sizes()
_UNFINISHED = ".unfinished-"  # a collection being made or removed; no collection's name begins with a dot

logger = logging.getLogger(__name__)


class Gallery:
    """The collections in a data directory. Thread-safe; every call but `get` may block.

    On disk: `lock`, held as long as it is open, and `collections/<name>/`, each whole or not there.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        faiss_threads: int = 1,
        sizes: Sizes = _USUAL,
        sync: Sync = sync_folder,
    ) -> None:
        """Open every collection.

        Args:
            data_dir: made where it is missing.
            faiss_threads: how many threads one search, and the building of an index, may use.
            sizes: what counts as many.
            sync: puts a folder's entries on the disk; tests let it fail.

        Raises:
            StorageError: another process uses the directory, or a collection cannot be opened.
        """
        self._folder = data_dir / COLLECTIONS_FOLDER
        self._faiss_threads = faiss_threads
        self._sizes = sizes
        self._sync = sync
        self._upkeep: Upkeep | None = None
        self._collections: dict[str, EmbeddedCollection] = {}
        self._turn = threading.Lock()
        self._closed = False
        with refusals(data_dir):
            make_folder(self._folder, sync)
            sync(data_dir)  # also where a start before this one made it, and was killed
            self._lock_file = lock(data_dir / "lock")
        try:
            self._remove_leftovers()
            self._open_all()
            self._upkeep = Upkeep(self._present, threads=faiss_threads)
            self._upkeep.written()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def create(self, name: str, config: CollectionConfig) -> tuple[Collection, bool]:
        """Return the collection of that name, made if it is new, and whether it was.

        Raises:
            RequestError: the name is none that a collection can have.
            ConflictError: it exists with another configuration.
            StorageError: the disk refused; there is no new collection.
        """
        if not NAME.fullmatch(name):
            raise RequestError(
                f"{name[:80]!r} cannot name a collection; use 1 to 64 letters, digits, '_', '.' or '-', "
                "the first a letter or digit."
            )
        with self._turn:
            self._refuse_if_closed()
            existing = self._collections.get(name)
            if existing is not None:
                _refuse_difference(existing, config)
                return existing, False
            collection = self._collections[name] = self._make(name, config)
            return collection, True

    def get(self, name: str) -> Collection:
        """Return the collection of that name, from memory and without waiting for anyone.

        Raises:
            NotFoundError: there is none; the message names those that are close.
            NotReadyError: the gallery is closed.
        """
        return self._get(name)

    def list(self) -> Sequence[Collection]:
        """Return the collections, in the order of their names. Any of them may be dropped meanwhile.

        Raises:
            NotReadyError: the gallery is closed.
        """
        with self._turn:
            self._refuse_if_closed()
            return [self._collections[name] for name in sorted(self._collections)]

    def drop(self, name: str) -> int:
        """Remove a collection and all that it holds, and return how many items that were.

        Once this returns it never comes back. Whoever still uses it gets CollectionDroppedError.

        Raises:
            NotFoundError: there is none of that name.
            NotReadyError: the gallery is closed.
            StorageError: the disk refused; the collection is there as before.
        """
        with contextlib.ExitStack() as afterwards, self._turn, refusals(self._folder):
            collection = self._get(name)
            aside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
            # Others need not wait for this, and what stays is removed at the next start.
            afterwards.callback(shutil.rmtree, aside, ignore_errors=True)
            return self._move_out(collection, aside)

    def close(self) -> None:
        """Close every collection and let another process have the directory. Closing twice is fine."""
        with self._turn, contextlib.ExitStack() as stack:
            if self._closed:
                return
            self._closed = True
            stack.callback(os.close, self._lock_file)
            for collection in self._collections.values():
                stack.callback(collection.close)
            if self._upkeep:
                stack.callback(self._upkeep.close)
            self._collections.clear()

    def _open_all(self) -> None:
        names = sorted(path.name for path in self._folder.iterdir() if NAME.fullmatch(path.name))
        for i, name in enumerate(names, start=1):
            began = time.monotonic()
            collection = self._collections[name] = self._open(name)
            logger.info(
                "opened collection %s (%d of %d): %d items in %.1f s",
                name,
                i,
                len(names),
                collection.stats().items,
                time.monotonic() - began,
            )

    def _get(self, name: str) -> EmbeddedCollection:
        try:
            return self._collections[name]
        except KeyError:
            self._refuse_if_closed()
            raise NotFoundError(self._not_found(name)) from None

    def _open(self, name: str) -> EmbeddedCollection:
        return EmbeddedCollection(
            self._folder / name,
            faiss_threads=self._faiss_threads,
            sizes=self._sizes,
            sync=self._sync,
            noted=self._note_write,
        )

    def _present(self) -> Iterable[EmbeddedCollection]:
        """Return the collections that there are now."""
        return list(self._collections.values())

    def _note_write(self) -> None:
        if self._upkeep:
            self._upkeep.written()

    def _make(self, name: str, config: CollectionConfig) -> EmbeddedCollection:
        """Make a collection aside, move it to its name whole, and open it; what fails leaves nothing."""
        with refusals(self._folder):
            aside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
            made, home = aside / name, self._folder / name
            try:
                made.mkdir()
                EmbeddedCollection.create(made, config)
                self._sync(made)
                move_folder(made, home, within=self._folder, sync=self._sync)
                try:
                    return self._open(name)
                except BaseException:
                    home.rename(made)
                    with contextlib.suppress(
                        OSError
                    ):  # unsynced it may come back: empty, and only by a power cut
                        self._sync(self._folder)
                    raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)

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

    def _remove_leftovers(self) -> None:
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            logger.warning("removing what a crash left unfinished: %s", path)
            shutil.rmtree(path, ignore_errors=True)

    def _not_found(self, name: str) -> str:
        close = difflib.get_close_matches(name, list(self._collections))
        hint = f" Did you mean {', '.join(map(repr, close))}?" if close else ""
        return f"There is no collection {name[:80]!r}.{hint}"

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise NotReadyError("The gallery is closed.")


def _refuse_difference(existing: Collection, config: CollectionConfig) -> None:
    differences = [
        f"{field.name} is {getattr(existing.config, field.name)!r}, not {getattr(config, field.name)!r}"
        for field in dataclasses.fields(CollectionConfig)
        if getattr(existing.config, field.name) != getattr(config, field.name)
    ]
    if differences:
        raise ConflictError(
            f"The collection {existing.name!r} exists with another configuration: {'; '.join(differences)}. "
            "Use another name, or delete it first."
        )


def lock(path: Path) -> int:
    """Return a descriptor that locks the file against every other process until it is closed.

    Raises:
        StorageError: another one has locked it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise StorageError(
            f"{path.parent} is in use by another server (process {owner}); stop it, or use another directory."
        ) from None
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor
