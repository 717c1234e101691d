"""Backups that a running server makes of its own collections, one at a time, in one folder."""

import contextlib
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from models.errors import LookalikeError
from service.cpus import stand_back
from service.errors import ConflictError, NotFoundError, NotReadyError, StorageError
from service.gallery.backup_manifest import MANIFEST, Content, damage_told, read_manifest
from service.gallery.backups import Copying, Kept, Step, back_up, copy_record
from service.gallery.collection import Collection
from service.gallery.folders import lock, make_folder, move_folder, refusals, sync_folder
from service.gallery.gallery import Gallery
from service.gallery.index.accelerator import Stopped, Work
from service.gallery.names import NAME, not_found, refuse_name
from service.gallery.unfinished import begun_in

__all__ = ["Backup", "Backups"]

_REMEMBERED = 20  # that failed
_STEPS_BACK = 10  # of `nice`: a tenth of the share of a thread that answers

_logger = logging.getLogger(__name__)


class Make(Protocol):
    """Makes a backup, as `back_up` does."""

    def __call__(self, data_dir: Path, out: Path, copying: Copying, *, names: Sequence[str]) -> Kept:
        """Return what is in it."""


@dataclass(frozen=True, slots=True)
class Backup:
    """How a backup stands.

    Attributes:
        name: its, and its folder's.
        state: whether it is being made, is there whole, or is not.
        kept: what is in it, so far.
        collections: how many are to be in it.
        began: when; None where it is not known.
        made: when it was done.
        problem: why it is not there, or cannot be used, or what is damaged in it; and what to do.
        contents: of one that is there, the collections by name.
    """

    name: str
    state: Literal["running", "done", "failed"]
    kept: Kept
    collections: int
    began: datetime | None = None
    made: datetime | None = None
    problem: str | None = None
    contents: dict[str, Content] = field(default_factory=dict)


class _Job:
    """A backup that is being made or restored from."""

    def __init__(self, name: str, doing: str, names: Sequence[str] = ()) -> None:
        self.name, self.doing, self.names = name, doing, names
        self.began = datetime.now(UTC)
        self.done = Kept(0, 0, 0)
        self.stop, self.ended = threading.Event(), threading.Event()

    def go_on(self) -> None:
        """Raise Stopped where somebody wanted it."""
        if self.stop.is_set():
            raise Stopped

    def rest(self, seconds: float) -> None:
        """Wait, or raise Stopped as soon as somebody wants it."""
        if self.stop.wait(seconds):
            raise Stopped

    def note(self, step: Step) -> None:
        """Take note of how far it is."""
        self.done = step.done

    def state(self, problem: str | None = None) -> Backup:
        """Return how it stands; with a problem, that it has failed."""
        state: Literal["running", "failed"] = "failed" if problem else "running"
        return Backup(self.name, state, self.done, len(self.names), self.began, problem=problem)


class Backups:
    """The backups in a folder. Thread-safe; all calls may block."""

    def __init__(self, folder: Path, data_dir: Path, gallery: Gallery, *, make: Make = back_up) -> None:
        """Make nothing yet, not even the folder; `make` is what makes a backup."""
        self._folder, self._data_dir, self._gallery, self._make = folder, data_dir, gallery, make
        self._turn = threading.Lock()
        self._job: _Job | None = None
        self._failed: dict[str, Backup] = {}
        self._closed = False

    def start(self, name: str | None = None, collections: Sequence[str] | None = None) -> Backup:
        """Begin a backup in the background.

        Args:
            name: of the backup; None for one of the time.
            collections: their names; None for all.

        Raises:
            RequestError: the name is none.
            NotFoundError: there is no such collection.
            ConflictError: there is such a backup, another is being made or restored from, or all are
                wanted and some could not be opened.
            NotReadyError: not all collections are open yet, or the server stops.
            StorageError: the disk refused, or another server makes a backup there.
        """
        if name is not None:
            refuse_name(name, "backup")
        if collections is None:
            collections = [one.name for one in self._gallery.list()]  # once all are open, or could not be
            if unopened := list(self._gallery.unopened()):
                raise ConflictError(
                    f"These collections could not be opened and would be missing: {', '.join(unopened)}. "
                    "Name those to be kept in `collections`; or start the server again, which mends what can "
                    "be, and else put a backup's in their place, as GET /v1/collections says, or delete them."
                )
        names = [self._gallery.get(one).name for one in dict.fromkeys(collections)]
        job = _Job(name or _name_of(datetime.now(UTC)), "made", names)
        with self._turn, refusals(self._folder):
            self._refuse_if_busy()
            make_folder(self._folder, sync_folder)
            if (self._folder / job.name).exists():
                raise ConflictError(f"There is a backup {job.name!r} already; use another name.")
            held = lock(self._folder / ".lock")
            try:
                threading.Thread(target=self._run, args=[job, held], name="backup", daemon=True).start()
            except BaseException:
                os.close(held)
                raise
            self._failed.pop(job.name, None)
            self._job = job
        return job.state()

    def get(self, name: str) -> Backup:
        """Return how a backup stands.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._turn, refusals(self._folder):
            found = self._told(name)
            if found is None:
                raise not_found(name, self._names(), "backup")
            return found

    def list(self) -> list[Backup]:
        """Return all, in the order of their names."""
        with self._turn, refusals(self._folder):
            return [backup for name in self._names() if (backup := self._told(name))]

    def delete(self, name: str) -> None:
        """Remove a backup; one that is being made is given up.

        Raises:
            NotFoundError: there is none of that name.
            ConflictError: it is being restored from.
            StorageError: the disk refused; it is there as before.
        """
        self.get(name)
        job = self._job
        if job is not None and job.name == name and job.doing == "made":
            job.stop.set()
            job.ended.wait()
        with contextlib.ExitStack() as afterwards, self._turn, refusals(self._folder):
            self._failed.pop(name, None)
            job = self._job
            if job is not None and job.name == name:
                raise ConflictError(f"The backup {name!r} is being {job.doing}; wait for that.")
            if (self._folder / name / MANIFEST).is_file():
                aside = afterwards.enter_context(begun_in(self._folder))  # nobody waits for its removal
                move_folder(self._folder / name, aside / name, within=self._folder, sync=sync_folder)

    def restore(self, name: str, collection: str, into: str) -> Collection:
        """Return a new collection of the gallery, as the backup has one.

        Args:
            name: of the backup.
            collection: in it.
            into: the new one's name.

        Raises:
            RequestError: `into` cannot name a collection.
            NotFoundError: there is no such backup, or no such collection in it.
            ConflictError: there is a collection `into`, or another backup is being made or restored from.
            StorageError: it is damaged, or the disk refused; there is no new collection.
            NotReadyError: the server stops; likewise.
        """
        self.get(name)
        job = _Job(name, "restored from")
        with self._turn:
            self._refuse_if_busy()
            self._job = job
        try:
            return self._gallery.adopt(
                into,
                lambda home: copy_record(self._folder / name, collection, home, job.go_on),
                Work(1, job.stop, lambda done, total: None),
            )
        except Stopped:
            raise NotReadyError("The server is stopping; nothing was restored.") from None
        finally:
            self._end(job)

    def close(self) -> None:
        """End what is being made or restored, and wait for that. What was begun leaves nothing behind."""
        with self._turn:
            self._closed = True
            job = self._job
        if job is not None:
            job.stop.set()
            job.ended.wait()

    def _run(self, job: _Job, held: int) -> None:
        problem: str | None = None
        try:
            stand_back(threading.get_native_id(), _STEPS_BACK)
            copying = Copying(job.note, job.go_on, rest=job.rest)
            kept = self._make(self._data_dir, self._folder / job.name, copying, names=job.names)
            _logger.info("backup %s: %d collections, %d items", job.name, kept.collections, kept.items)
            if kept.damaged:
                _logger.warning("backup %s: %d items or pictures in it are damaged.", job.name, kept.damaged)
        except Stopped:
            problem = "It was stopped."
        except LookalikeError as error:
            problem = str(error)
            _logger.warning("backup %s: %s", job.name, error)
        except Exception:  # told to whoever asks for it
            problem = "The fault is ours, and the log has it."
            _logger.exception("The backup %s could not be made.", job.name)
        finally:
            os.close(held)
            self._end(job, problem)

    def _end(self, job: _Job, problem: str | None = None) -> None:
        with self._turn:
            self._job = None
            if problem:
                self._failed[job.name] = job.state(problem)
                for oldest in list(self._failed)[:-_REMEMBERED]:
                    del self._failed[oldest]
        job.ended.set()

    def _told(self, name: str) -> Backup | None:
        """Return how one stands; None where there is none."""
        job = self._job
        if job is not None and job.name == name and job.doing == "made":
            return job.state()
        if name in self._failed:
            return self._failed[name]
        if not NAME.fullmatch(name):
            return None
        try:
            manifest = read_manifest(self._folder / name)
        except NotFoundError:
            return None
        except StorageError as error:
            return Backup(name, "failed", Kept(0, 0, 0), 0, problem=str(error))
        kept = Kept.of(manifest.contents.values())
        times = (manifest.began, manifest.made)
        told = damage_told(manifest.contents)
        return Backup(name, "done", kept, kept.collections, *times, told, manifest.contents)

    def _names(self) -> Sequence[str]:
        """Return the names of what may be backups."""
        there = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        running = [self._job.name] if self._job else []
        return sorted({*there, *running, *self._failed})

    def _refuse_if_busy(self) -> None:
        if self._closed:
            raise NotReadyError("The server is stopping.")
        if self._job is not None:
            raise ConflictError(f"The backup {self._job.name!r} is being {self._job.doing}; wait for that.")


def _name_of(moment: datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"
