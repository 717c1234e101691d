"""The manifest of a backup: what is in it, with the hash of each file. Whole is what has one."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from service.errors import NotFoundError, StorageError
from service.gallery.folders import sync_folder
from service.gallery.names import NAME

__all__ = ["MANIFEST", "Content", "Manifest", "damage_told", "described", "read_manifest", "write_manifest"]

MANIFEST = "manifest.json"

_FORMAT = 1
_PIECE_BYTES = 2**20
_TOLD = 20  # damaged items, in a sentence


@dataclass(frozen=True, slots=True)
class Content:
    """A collection in a backup.

    Attributes:
        items: that can be read.
        bytes: of its record.
        sha256: of it.
        damaged: how many items, or their pictures, are damaged in it or were lost before; None where nobody
            looked.
        damaged_ids: of the first of these; None for an id that is lost.
    """

    items: int
    bytes: int
    sha256: str
    damaged: int | None = None
    damaged_ids: tuple[str | None, ...] = ()


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
        contents = {name: _content(one) for name, one in body["collections"].items()}
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


def damage_told(contents: Mapping[str, Content]) -> str | None:
    """Say what is damaged in a backup's collections, and what to do; None where nothing is known to be."""
    count = sum(content.damaged or 0 for content in contents.values())
    if not count:
        return None
    each = [
        f"{'a lost id' if item_id is None else repr(item_id)} of {name}"
        for name, content in contents.items()
        for item_id in content.damaged_ids
    ]
    named = ", ".join([*each[:_TOLD], *(["..."] if count > _TOLD else [])])
    return (
        f"Damaged items or pictures in it: {count:,} ({named}). All others are restored. Delete such items "
        "and enrol them again, or take them out of an earlier backup; then make another."
    )


def _content(one: Mapping[str, Any]) -> Content:
    damaged = one.get("damaged")  # backups of before it was looked for are without
    return Content(
        int(one["items"]),
        int(one["bytes"]),
        str(one["sha256"]),
        None if damaged is None else int(damaged),
        tuple(one.get("damaged_ids", ())),
    )
