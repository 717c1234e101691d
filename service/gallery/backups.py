"""Backups: each collection as it was at one moment, while a server writes to it or not, and back again."""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from service.errors import ConflictError, NotFoundError, StorageError
from service.gallery.embedded import RECORD_FILE
from service.gallery.folders import lock, make_folder, refusals, sync_folder
from service.gallery.gallery import COLLECTIONS_FOLDER, NAME

__all__ = ["Kept", "back_up", "restore"]

_FORMAT = 1
_MANIFEST = "manifest.json"
_PIECE_BYTES = 2**20

Told: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup has: collections, items and bytes."""

    collections: int
    items: int
    bytes: int


def back_up(data_dir: Path, out: Path, *, told: Told) -> Kept:
    """Copy every collection of a data directory into a new folder, each as of one moment, and sync it.

    The snapshots of the indexes are left out: they are made anew. Only SQLite's readers are used, so a server
    goes on meanwhile.

    Args:
        data_dir: as the server has it.
        out: made; must not be there.
        told: called before each collection with its name, its number and how many there are.

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
    names = sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name))
    with refusals(out):
        make_folder(out.parent, sync_folder)
        aside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out.parent))
        try:
            written: dict[str, Any] = {}
            for number, name in enumerate(names, start=1):
                told(name, number, len(names))
                home = aside / COLLECTIONS_FOLDER / name
                home.mkdir(parents=True)
                items = _copy_record(folder / name / RECORD_FILE, home / RECORD_FILE)
                written[name] = {"items": items, **_described(home / RECORD_FILE)}
                sync_folder(home)
            body = {"format": _FORMAT, "made": datetime.now(UTC).isoformat(), "collections": written}
            _write(aside / _MANIFEST, json.dumps(body, indent=1, sort_keys=True).encode())
            sync_folder(aside)
            aside.rename(out)
            sync_folder(out.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return _kept(written)


def restore(backup: Path, data_dir: Path, *, told: Told) -> Kept:
    """Put a backup's collections into a data directory without any, once all its hashes are found right.

    Args:
        backup: a folder that `back_up` made; it stays as it is.
        data_dir: made where it is missing.
        told: as in `back_up`.

    Raises:
        NotFoundError: that is no backup.
        ConflictError: the data directory has collections.
        StorageError: a file is damaged, a server uses the directory, or the disk refused; nothing changed.
    """
    collections = _manifest(backup)["collections"]
    folder = data_dir / COLLECTIONS_FOLDER
    with refusals(data_dir):
        make_folder(data_dir, sync_folder)
        held = lock(data_dir / "lock")
        try:
            if folder.is_dir() and any(folder.iterdir()):
                raise ConflictError(f"{data_dir} has collections already; restore into an empty directory.")
            _check(backup, collections)
            aside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=data_dir))
            try:
                for number, (name, described) in enumerate(collections.items(), start=1):
                    told(name, number, len(collections))
                    home = aside / name
                    home.mkdir()
                    shutil.copyfile(_record(backup, name), home / RECORD_FILE)
                    if _described(home / RECORD_FILE)["sha256"] != described["sha256"]:
                        raise StorageError(f"The copy of {name!r} is damaged; check the disk.")
                    sync_folder(home)
                sync_folder(aside)
                if folder.is_dir():
                    folder.rmdir()
                aside.rename(folder)
                folder.chmod(0o755)
                sync_folder(data_dir)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        finally:
            os.close(held)
    return _kept(collections)


def _copy_record(source: Path, target: Path) -> int:
    """Copy a record as of one moment, and return its items."""
    try:
        connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)
        try:
            connection.execute("VACUUM INTO ?", [str(target)])
        finally:
            connection.close()
        copy = sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro", uri=True)
        try:
            (items,) = copy.execute("SELECT value FROM meta WHERE key = 'items'").fetchone()
            (found,) = copy.execute("SELECT count(*) FROM items").fetchone()
        finally:
            copy.close()
    except sqlite3.Error as error:
        raise StorageError(f"{source}: {error}. It cannot be backed up; export what can be read.") from error
    if found != items:
        raise StorageError(f"{source} holds {found} items where {items} were written; it is damaged.")
    return int(items)


def _manifest(backup: Path) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads((backup / _MANIFEST).read_bytes())
        if body["format"] != _FORMAT or not all(NAME.fullmatch(name) for name in body["collections"]):
            raise StorageError(f"{backup} is of another version of this program, or damaged.")
    except OSError as error:
        raise NotFoundError(f"{backup} is no backup: it has no {_MANIFEST}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{backup / _MANIFEST} is damaged; use another backup.") from error
    return body


def _check(backup: Path, collections: dict[str, Any]) -> None:
    """Refuse a backup in which a file is damaged, naming all of those."""
    damaged = [
        name
        for name, described in collections.items()
        if not _record(backup, name).is_file()
        or _described(_record(backup, name))["sha256"] != described["sha256"]
    ]
    if damaged:
        raise StorageError(
            f"{backup}: damaged or missing: {', '.join(damaged)}. Nothing was restored; use another "
            "backup, or remove these from its manifest to do without them."
        )


def _record(backup: Path, name: str) -> Path:
    return backup / COLLECTIONS_FOLDER / name / RECORD_FILE


def _described(path: Path) -> dict[str, Any]:
    """Return a file's size and hash, once it is on the disk."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
        os.fsync(file.fileno())
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _kept(collections: dict[str, Any]) -> Kept:
    described = collections.values()
    return Kept(
        len(described), sum(one["items"] for one in described), sum(one["bytes"] for one in described)
    )
