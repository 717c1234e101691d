"""The manifest of a backup: what is in it, with the hash of each file. Whole is what has one."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from service.errors import NotFoundError, StorageError
from service.gallery.folders import sync_folder
from service.gallery.names import NAME

__all__ = ["MANIFEST", "Content", "Manifest", "described", "read_manifest", "write_manifest"]

MANIFEST = "manifest.json"

_FORMAT = 1
_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Content:
    """A collection in a backup: its items, and the size and hash of its record."""

    items: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """When a backup was begun (None where nobody wrote that down) and done, and its collections by name."""

    began: datetime | None
    made: datetime
    contents: dict[str, Content]


def write_manifest(backup: Path, manifest: Manifest) -> None:
    """Put it on the disk."""
    body = {
        "format": _FORMAT,
        "began": manifest.began.isoformat() if manifest.began else None,
        "made": manifest.made.isoformat(),
        "collections": {name: asdict(content) for name, content in manifest.contents.items()},
    }
    with (backup / MANIFEST).open("wb") as file:
        file.write(json.dumps(body, indent=1, sort_keys=True).encode())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(backup)


def read_manifest(backup: Path) -> Manifest:
    """Return what a backup says of itself.

    Raises:
        NotFoundError: the folder is no backup.
        StorageError: it is damaged, or of another version of this program.
    """
    try:
        body = json.loads((backup / MANIFEST).read_bytes())
        if body["format"] != _FORMAT or not all(NAME.fullmatch(name) for name in body["collections"]):
            raise StorageError(f"{backup} is of another version of this program, or damaged.")
        contents = {
            name: Content(int(one["items"]), int(one["bytes"]), str(one["sha256"]))
            for name, one in body["collections"].items()
        }
        began = body.get("began")  # backups of before it was written are without
        return Manifest(
            datetime.fromisoformat(began) if began else None, datetime.fromisoformat(body["made"]), contents
        )
    except OSError as error:
        raise NotFoundError(f"{backup} is no backup: it has no {MANIFEST}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{backup / MANIFEST} is damaged; use another backup.") from error


def described(path: Path, go_on: Callable[[], None]) -> tuple[int, str]:
    """Return a file's size and hash, once it is on the disk."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            go_on()
            digest.update(piece)
        os.fsync(file.fileno())
    return path.stat().st_size, digest.hexdigest()
