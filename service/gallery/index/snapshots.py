"""Snapshots: sealed rows on the disk, each whole in a folder of its own or not there.

A folder holds the rows, their labels, what makes searching them fast, and a manifest with a hash of every
block of these, written last. Nothing is read before its hash was found right: FAISS loads most damaged files
without a word. A snapshot that is not right is removed, and made anew from the record.
"""

import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from models.errors import LookalikeError
from service.gallery.collection import CollectionMetric
from service.gallery.folders import Sync
from service.gallery.index.accelerator import Accelerator, Saved
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import FlatIndex
from service.gallery.index.large_pages import forget, read_in
from service.gallery.index.plan import Plan
from service.gallery.index.sealed import Sealed
from service.gallery.index.snapshot_files import (
    blank,
    digest_of,
    hash_again,
    hashes_of,
    put_on_disk,
    write_manifest,
)
from service.gallery.index.vector_files import open_vectors

__all__ = ["Snapshot", "SnapshotError", "Snapshots", "saved_in", "vectors_in"]

_FORMAT = 2
_FORMER, _FORMER_TIES = 1, 4  # HNSW was tried with no effort below k + 4, whatever it says
_UNFINISHED = ".unfinished-"
_VECTORS, _LABELS, _ACCELERATOR, _COPIES, _MANIFEST = (
    "vectors.faiss",
    "labels.npy",
    "accelerator.faiss",
    "copies.faiss",
    "manifest.json",
)

_FACTS = ("trained_rows", "tuned_rows", "build_s", "written_s", "rows")

_logger = logging.getLogger(__name__)


class SnapshotError(LookalikeError):
    """A snapshot that cannot be used; it is made anew, and never leaves the gallery."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot is of.

    Attributes:
        folder: where it lies.
        plan: what makes it fast.
        effort: how widely that has to search, as it was found for `tuned_rows`.
        trained_rows: from how many rows codes and lists were learnt.
        tuned_rows: see there.
        build_s: seconds that it took.
        written_s: when it was written, in seconds since 1970.
        rows: how many it has, dead ones too.
    """

    folder: Path
    plan: Plan
    effort: Mapping[int, int]
    trained_rows: int
    tuned_rows: int
    build_s: float
    written_s: float
    rows: int

    @property
    def width(self) -> Mapping[int, int]:
        """Return how widely it is searched: its effort, in proportion to the rows that came since."""
        grown = 1.0 if self.plan.effort else max(1.0, self.rows / self.tuned_rows)
        return {k: math.ceil(wide * grown) for k, wide in self.effort.items()}

    @property
    def files(self) -> Saved:
        """Return where its parts lie."""
        return saved_in(self.folder, self.plan)


class Snapshots:
    """The snapshots of one collection: one that counts, and for a moment the next."""

    def __init__(self, home: Path, *, dimension: int, metric: CollectionMetric, sync: Sync) -> None:
        """Look after the folder `home`, which need not be there.

        Args:
            home: of the snapshots.
            dimension: the collection's.
            metric: the collection's.
            sync: puts a folder's entries on the disk; tests let it fail.
        """
        self._home, self._dimension, self._metric, self._sync = home, dimension, metric, sync

    def new_folder(self) -> Path:
        """Make a folder in which the next one is made."""
        if not self._home.is_dir():
            self._home.mkdir()  # without parents: those of a collection that was dropped must not come back
            self._sync(self._home.parent)
        return Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._home))

    def keep(
        self, made: Path, snapshot: Snapshot, labels: Integers, *, go_on: Callable[[], None] = lambda: None
    ) -> Snapshot:
        """Put what lies in a new folder on the disk, and under its name; the one before is still there.

        Whatever `go_on`, which is called often, raises ends it.

        Raises:
            OSError: the disk refused; nothing has changed.
        """
        np.save(made / _LABELS, labels)
        plan = snapshot.plan
        names = [_VECTORS, _LABELS, *([_ACCELERATOR] if plan.approximate else [])]
        names += [_COPIES] if plan.halved else []
        for name in names:
            put_on_disk(made / name)
        body = {
            "format": _FORMAT,
            "faiss": faiss.__version__,
            "dimension": self._dimension,
            "metric": self._metric,
            "plan": plan.as_json(),
            "effort": {str(k): effort for k, effort in snapshot.effort.items()},
            **{name: getattr(snapshot, name) for name in _FACTS},
            "files": {name: hashes_of(made / name, go_on) for name in names},  # of what was to be written
        }
        for name in names:
            forget(made / name)  # so that `load` reads what the disk has, and reads it into large pages
        write_manifest(made / _MANIFEST, body)
        self._sync(made)
        last = int(labels[-1]) if len(labels) else 0
        home = self._home / f"{last:019d}-{made.name.removeprefix(_UNFINISHED)}"
        made.rename(home)
        self._sync(self._home)
        return self._read(home)[0]

    def open(
        self, *, threads: int, go_on: Callable[[], None] = lambda: None
    ) -> tuple[Snapshot, Sealed] | None:
        """Return the newest that is right, and remove those that are not; None where there is none.

        Whatever `go_on`, which is called often, raises ends it.
        """
        for folder in self._folders():
            try:
                return self.load(folder, threads=threads, go_on=go_on)
            except (SnapshotError, OSError) as error:
                _logger.warning("%s: %s; it is made anew from the record.", folder, error)
                shutil.rmtree(folder, ignore_errors=True)
        return None

    def load(
        self, folder: Path, *, threads: int, go_on: Callable[[], None] = lambda: None
    ) -> tuple[Snapshot, Sealed]:
        """Return a snapshot and its rows, mapped into memory, once their hashes are found right.

        Raises:
            SnapshotError: something is damaged, missing, or of another version.
        """
        snapshot, body = self._read(folder)
        for name, hashes in body["files"].items():
            if name != _LABELS:  # which is copied
                read_in(folder / name, go_on)
            if hashes_of(folder / name, go_on) != hashes:
                raise SnapshotError(f"{name} is damaged")
        labels = np.load(folder / _LABELS)
        vectors = open_vectors(folder / _VECTORS, (len(labels), self._dimension))
        rows = FlatIndex.over(labels, vectors, self._metric, threads=threads)
        plan = snapshot.plan
        fast = (
            Accelerator.load(snapshot.files, plan, snapshot.width, threads=threads)
            if plan.approximate
            else None
        )
        return snapshot, Sealed(rows, fast)

    def remove_others(self, kept: Path | None) -> None:
        """Remove all but one, what was left unfinished too."""
        if self._home.is_dir():
            for folder in self._home.iterdir():
                if folder != kept:
                    shutil.rmtree(folder, ignore_errors=True)

    def erase(self, snapshot: Snapshot, positions: Integers) -> bool:
        """Write zeros over some rows, in place, and return whether nothing else holds them.

        A crash meanwhile leaves hashes that are wrong, and a snapshot that is made anew.

        Raises:
            OSError: the disk refused.
        """
        if not (snapshot.plan.storage_apart or not snapshot.plan.approximate):
            return False  # codes and centres are of rows too
        _, body = self._read(snapshot.folder)
        held = {_VECTORS: 4 * self._dimension}
        if snapshot.plan.halved:
            held[_COPIES] = 2 * self._dimension
        for name, row_bytes in held.items():
            path = snapshot.folder / name
            touched = blank(path, positions, rows=int(body["rows"]), row_bytes=row_bytes)
            hash_again(path, body["files"][name], touched)
        write_manifest(snapshot.folder / _MANIFEST, body)
        self._sync(snapshot.folder)
        return True

    def _folders(self) -> list[Path]:
        """Return the finished ones, the newest first, once the unfinished are removed."""
        if not self._home.is_dir():
            return []
        folders = sorted(self._home.iterdir(), reverse=True)
        for folder in folders:
            if folder.name.startswith(_UNFINISHED):
                shutil.rmtree(folder, ignore_errors=True)
        return [folder for folder in folders if not folder.name.startswith(".")]

    def _read(self, folder: Path) -> tuple[Snapshot, dict[str, Any]]:
        """Return what the manifest says."""
        try:
            written = json.loads((folder / _MANIFEST).read_bytes())
            body: dict[str, Any] = written["body"]
            if written["sha256"] != digest_of(body):
                raise SnapshotError("its manifest is damaged")
            found = tuple(body[name] for name in ("format", "faiss", "dimension", "metric"))
            wanted = (_FORMAT, faiss.__version__, self._dimension, self._metric)
            if found not in (wanted, (_FORMER, *wanted[1:])):
                raise SnapshotError(f"it is of {found}, and {wanted} is wanted")
            effort = {int(k): int(wide) for k, wide in body["effort"].items()}
            plan = Plan(**body["plan"])
            if found[0] == _FORMER and plan.kind == "hnsw" and plan.effort is None:
                effort = {k: max(wide, k + _FORMER_TIES) for k, wide in effort.items()}
            facts = {name: body[name] for name in _FACTS}
            return Snapshot(folder, plan, effort, **facts), body
        except (ValueError, KeyError, TypeError) as error:
            raise SnapshotError("its manifest is damaged") from error


def saved_in(folder: Path, plan: Plan) -> Saved:
    """Return where the parts of an accelerator lie in a snapshot's folder."""
    return Saved(folder / _ACCELERATOR, folder / (_COPIES if plan.halved else _VECTORS))


def vectors_in(folder: Path) -> Path:
    """Return where the rows lie in a snapshot's folder."""
    return folder / _VECTORS
