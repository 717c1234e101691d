"""Backups: each collection as it was at one moment, while a server writes to it or not, and back again."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from service.errors import ConflictError, DamageError, NotFoundError, StorageError
from service.gallery.backup_manifest import Content, Manifest, described, read_manifest, write_manifest
from service.gallery.embedded import RECORD_FILE
from service.gallery.folders import (
    Sync,
    locked,
    make_folder,
    move_folder,
    refusals,
    refuse_within,
    sync_folder,
)
from service.gallery.gallery import COLLECTIONS_FOLDER
from service.gallery.names import NAME, chosen, not_found
from service.gallery.record_copies import compared, copy_as_of_now
from service.gallery.unfinished import begun_in, remove_abandoned

__all__ = ["Copying", "Kept", "Step", "back_up", "collections_in", "copy_record", "restore"]

_PIECE_BYTES = 2**20
_NAMED = 100  # damaged items of a collection
_WITHOUT_THEM = (
    "Nothing was backed up. A server that starts on it mends what can be mended; or name the others, to do "
    "without (--collection, or `collections` over REST)."
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup has: collections, items that can be read, bytes, and how many items are damaged in it."""

    collections: int
    items: int
    bytes: int
    damaged: int = 0

    @classmethod
    def of(cls, contents: Iterable[Content]) -> "Kept":
        """Return what some contents come to."""
        listed = list(contents)
        return cls(
            len(listed),
            sum(one.items for one in listed),
            sum(one.bytes for one in listed),
            sum(one.damaged or 0 for one in listed),
        )


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
        sync: puts the entries of the folder on the disk in which it then gets its place; tests let it fail.
        rest: called between pieces of comparing rows, which keep the interpreter busy, with the seconds that
            the last one took; may wait as long, or raise as `go_on` does.
    """

    told: Told
    go_on: Callable[[], None] = lambda: None
    sync: Sync = sync_folder
    rest: Callable[[float], None] = lambda seconds: None


def collections_in(data_dir: Path) -> list[str]:
    """Return the names of the collections in a data directory, whether they can be opened or not.

    Raises:
        NotFoundError: it is none.
    """
    folder = data_dir / COLLECTIONS_FOLDER
    if not folder.is_dir():
        raise NotFoundError(f"There are no collections in {data_dir}. Name the server's data directory.")
    return sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name))


def back_up(data_dir: Path, out: Path, copying: Copying, *, names: Sequence[str] | None = None) -> Kept:
    """Copy collections of a data directory into a new folder, each as of one moment, and sync it.

    The snapshots of the indexes are left out: they are made anew. Only SQLite's readers are used, so a server
    goes on meanwhile. A collection that is deleted meanwhile is left out. Every copy is compared with its
    checksums: what is damaged in it stays as it is, and the manifest names it.

    Args:
        data_dir: as the server has it.
        out: made; must not be there, nor among the collections.
        copying: how.
        names: of the collections; None for all.

    Raises:
        NotFoundError: there are no collections in it.
        ConflictError: `out` is there already, or would be among the collections.
        DamageError: records cannot be read or lack rows, and all of them are named; there is no backup.
        StorageError: the disk refused; likewise.
    """
    folder, there = data_dir / COLLECTIONS_FOLDER, collections_in(data_dir)
    if out.exists():
        raise ConflictError(f"{out} is there already; name a new folder.")
    refuse_within(out, folder, "the collections")
    if names is None:
        names = there
    began = datetime.now(UTC)
    with refusals(out):
        make_folder(out.parent, sync_folder)
        remove_abandoned(out.parent)
        with begun_in(out.parent) as made:
            contents: dict[str, Content] = {}
            unread: dict[str, DamageError] = {}
            for number, name in enumerate(names, start=1):
                copying.told(Step(name, number, len(names), Kept.of(contents.values())))
                try:
                    content = _back_up_one(folder / name, made / COLLECTIONS_FOLDER / name, copying)
                except DamageError as error:  # the others are still looked at: one refusal names all
                    unread[name] = error
                    continue
                if content is not None:
                    contents[name] = content
            _refuse_unread(unread)
            write_manifest(made, Manifest(began, datetime.now(UTC), contents))
            move_folder(made, out, within=out.parent, sync=copying.sync)
    return Kept.of(contents.values())


def restore(backup: Path, data_dir: Path, copying: Copying, *, names: Sequence[str] = ()) -> Kept:
    """Put a backup's collections into a data directory without any, once their hashes are found right.

    Args:
        backup: a folder that `back_up` made; it stays as it is.
        data_dir: made where it is missing; not in the backup.
        copying: how.
        names: of the collections; none for all.

    Raises:
        NotFoundError: that is no backup, or has no such collection.
        ConflictError: the data directory has collections, or is within the backup.
        StorageError: a file is damaged, a server uses the directory, or the disk refused; nothing changed.
    """
    kept = read_manifest(backup).contents
    refuse_within(data_dir, backup, "the files of a backup")
    contents = {name: kept[name] for name in chosen(names, kept, f"collection in {backup} that is called")}
    folder = data_dir / COLLECTIONS_FOLDER
    with refusals(data_dir):
        _refuse_filled(data_dir)
        _check(backup, contents, copying.go_on)
        make_folder(data_dir, sync_folder)
        with locked(data_dir):
            _refuse_filled(data_dir)
            remove_abandoned(data_dir)
            with begun_in(data_dir) as made:
                for number, name in enumerate(contents, start=1):
                    done = Kept.of(list(contents.values())[: number - 1])
                    copying.told(Step(name, number, len(contents), done))
                    (made / name).mkdir()
                    copy_record(backup, name, made / name, copying.go_on)
                sync_folder(made)
                if folder.is_dir():
                    folder.rmdir()
                made.chmod(0o755)
                move_folder(made, folder, within=data_dir, sync=copying.sync)
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


def _back_up_one(source: Path, home: Path, copying: Copying) -> Content | None:
    """Copy a collection's record into a new folder, and return what it is; None where it is gone."""
    home.mkdir(parents=True)
    try:
        copy_as_of_now(source / RECORD_FILE, home / RECORD_FILE, copying.go_on)
        items, damaged = compared(home / RECORD_FILE, source / RECORD_FILE, copying.go_on, copying.rest)
    except StorageError:
        if not source.exists():
            shutil.rmtree(home)
            return None
        raise
    size, sha256 = described(home / RECORD_FILE, copying.go_on)
    sync_folder(home)
    sync_folder(home.parent)
    return Content(items, size, sha256, len(damaged), tuple(damaged[:_NAMED]))


def _refuse_unread(unread: Mapping[str, DamageError]) -> None:
    """Raise the errors of collections, by name, as one that names all of them; none where there is none."""
    if not unread:
        return
    errors = list(unread.values())
    named = f"{len(unread)} collections cannot be read: {', '.join(unread)}. " if len(unread) > 1 else ""
    raise DamageError(f"{named}{' '.join(map(str, errors))} {_WITHOUT_THEM}") from errors[0]


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
            "backup, or name the others (--collection) to do without."
        )


def _record(backup: Path, name: str) -> Path:
    return backup / COLLECTIONS_FOLDER / name / RECORD_FILE
