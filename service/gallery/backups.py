"""Backups: each collection as it was at one moment, while a server writes to it or not, and back again."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from service.errors import ConflictError, NotFoundError, StorageError
from service.gallery.backup_manifest import Content, Manifest, described, read_manifest, write_manifest
from service.gallery.embedded import RECORD_FILE
from service.gallery.folders import Sync, locked, make_folder, move_folder, refusals, sync_folder
from service.gallery.gallery import COLLECTIONS_FOLDER
from service.gallery.index.accelerator import Stopped
from service.gallery.names import NAME, not_found

__all__ = ["Copying", "Kept", "Step", "back_up", "copy_record", "restore"]

_PIECE_BYTES = 2**20
_INSTRUCTIONS = 1_000  # of SQLite's, between two looks at whether to stop: some hundred rows


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup has: collections, items and bytes."""

    collections: int
    items: int
    bytes: int

    @classmethod
    def of(cls, contents: Iterable[Content]) -> "Kept":
        """Return what some contents come to."""
        listed = list(contents)
        return cls(len(listed), sum(one.items for one in listed), sum(one.bytes for one in listed))


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is: the collection that comes now, its number, how many there are, and what is done."""

    name: str
    number: int
    count: int
    done: Kept


Told: TypeAlias = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Copying:
    """How it is done.

    Attributes:
        told: called before each collection.
        go_on: called often; whatever it raises, Stopped say, ends it, and nothing is left.
        unfinished: with what the name of a folder begins in which a backup is being made.
        sync: puts the entries of the folder on the disk in which it then gets its place; tests let it fail.
    """

    told: Told
    go_on: Callable[[], None] = lambda: None
    unfinished: str = ".unfinished-"
    sync: Sync = sync_folder


def back_up(data_dir: Path, out: Path, copying: Copying, *, names: Sequence[str] | None = None) -> Kept:
    """Copy collections of a data directory into a new folder, each as of one moment, and sync it.

    The snapshots of the indexes are left out: they are made anew. Only SQLite's readers are used, so a server
    goes on meanwhile. A collection that is deleted meanwhile is left out.

    Args:
        data_dir: as the server has it.
        out: made; must not be there.
        copying: how.
        names: of the collections; None for all.

    Raises:
        NotFoundError: there are no collections in it.
        ConflictError: `out` is there already.
        StorageError: a record is damaged, or the disk refused; there is no backup.
    """
    folder = data_dir / COLLECTIONS_FOLDER
    if not folder.is_dir():
        raise NotFoundError(f"There are no collections in {data_dir}. Name the server's data directory.")
    if out.exists():
        raise ConflictError(f"{out} is there already; name a new folder.")
    if names is None:
        names = sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name))
    began = datetime.now(UTC)
    with refusals(out):
        make_folder(out.parent, sync_folder)
        aside = Path(tempfile.mkdtemp(prefix=copying.unfinished, dir=out.parent))
        try:
            contents: dict[str, Content] = {}
            for number, name in enumerate(names, start=1):
                copying.told(Step(name, number, len(names), Kept.of(contents.values())))
                content = _back_up_one(folder / name, aside / COLLECTIONS_FOLDER / name, copying.go_on)
                if content is not None:
                    contents[name] = content
            write_manifest(aside, Manifest(began, datetime.now(UTC), contents))
            move_folder(aside, out, within=out.parent, sync=copying.sync)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return Kept.of(contents.values())


def restore(backup: Path, data_dir: Path, copying: Copying) -> Kept:
    """Put a backup's collections into a data directory without any, once all its hashes are found right.

    Args:
        backup: a folder that `back_up` made; it stays as it is.
        data_dir: made where it is missing.
        copying: how.

    Raises:
        NotFoundError: that is no backup.
        ConflictError: the data directory has collections.
        StorageError: a file is damaged, a server uses the directory, or the disk refused; nothing changed.
    """
    contents = read_manifest(backup).contents
    folder = data_dir / COLLECTIONS_FOLDER
    with refusals(data_dir):
        _refuse_filled(data_dir)
        _check(backup, contents, copying.go_on)
        make_folder(data_dir, sync_folder)
        with locked(data_dir):
            _refuse_filled(data_dir)
            aside = Path(tempfile.mkdtemp(prefix=copying.unfinished, dir=data_dir))
            try:
                for number, name in enumerate(contents, start=1):
                    done = Kept.of(list(contents.values())[: number - 1])
                    copying.told(Step(name, number, len(contents), done))
                    (aside / name).mkdir()
                    copy_record(backup, name, aside / name, copying.go_on)
                sync_folder(aside)
                if folder.is_dir():
                    folder.rmdir()
                aside.chmod(0o755)
                move_folder(aside, folder, within=data_dir, sync=copying.sync)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
    return Kept.of(contents.values())


def _refuse_filled(data_dir: Path) -> None:
    """Raise ConflictError where there are collections."""
    folder = data_dir / COLLECTIONS_FOLDER
    if folder.is_dir() and any(folder.iterdir()):
        raise ConflictError(f"{data_dir} has collections already; restore into an empty directory.")


def copy_record(backup: Path, name: str, home: Path, go_on: Callable[[], None]) -> None:
    """Copy one collection's record out of a backup into a folder, check its hash, and sync it.

    Raises:
        NotFoundError: that is no backup, or there is no such collection in it.
        StorageError: it is damaged.
    """
    contents = read_manifest(backup).contents
    if name not in contents:
        raise not_found(name, contents, f"collection in the backup {backup.name!r} that is called")
    with refusals(backup):
        with _record(backup, name).open("rb") as source, (home / RECORD_FILE).open("wb") as target:
            while piece := source.read(_PIECE_BYTES):
                go_on()
                target.write(piece)
        if described(home / RECORD_FILE, go_on) != (contents[name].bytes, contents[name].sha256):
            raise StorageError(f"{backup}: damaged or missing: {name}, or the copy; use another backup.")
        sync_folder(home)


def _back_up_one(source: Path, home: Path, go_on: Callable[[], None]) -> Content | None:
    """Copy a collection's record into a new folder, and return what it is; None where it is gone."""
    home.mkdir(parents=True)
    try:
        items = _copy_as_of_now(source / RECORD_FILE, home / RECORD_FILE, go_on)
    except StorageError:
        if source.exists():
            raise
        shutil.rmtree(home)
        return None
    size, sha256 = described(home / RECORD_FILE, go_on)
    sync_folder(home)
    sync_folder(home.parent)
    return Content(items, size, sha256)


def _copy_as_of_now(source: Path, target: Path, go_on: Callable[[], None]) -> int:
    """Copy a record as of one moment, and return its items."""

    def stopped() -> bool:
        try:
            go_on()
        except Stopped:
            return True
        return False

    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.set_progress_handler(stopped, _INSTRUCTIONS)
            connection.execute("VACUUM INTO ?", [str(target)])
        with closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            copy.set_progress_handler(stopped, _INSTRUCTIONS)
            (items,) = copy.execute("SELECT value FROM meta WHERE key = 'items'").fetchone()
            (found,) = copy.execute("SELECT count(*) FROM items").fetchone()
    except sqlite3.Error as error:
        go_on()  # which may have been why
        raise StorageError(f"{source}: {error}. It cannot be backed up; export what can be read.") from error
    if found != items:
        raise StorageError(f"{source} holds {found} items where {items} were written; it is damaged.")
    return int(items)


def _check(backup: Path, contents: dict[str, Content], go_on: Callable[[], None]) -> None:
    """Refuse a backup in which a file is damaged, naming all of those."""
    damaged = [
        name
        for name, content in contents.items()
        if not _record(backup, name).is_file()
        or described(_record(backup, name), go_on) != (content.bytes, content.sha256)
    ]
    if damaged:
        raise StorageError(
            f"{backup}: damaged or missing: {', '.join(damaged)}. Nothing was restored; use another "
            "backup, or remove these from its manifest to do without them."
        )


def _record(backup: Path, name: str) -> Path:
    return backup / COLLECTIONS_FOLDER / name / RECORD_FILE
