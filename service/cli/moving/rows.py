"""What is moved: one row an item, its id from where it stands in its source, and the batches of a request."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Limits", "Row", "Vectors", "batches", "id_of_path", "key_of"]

Vectors: TypeAlias = npt.NDArray[np.float32]

_MAX_NAME_CHARACTERS = 256
_DIGEST_CHARACTERS = 32
_ROW_BYTES = 64  # of an item's JSON beside its names and metadata
_BASE64 = 4 / 3


@dataclass(frozen=True, slots=True)
class Row:
    """An item to send.

    Attributes:
        content: its vector, (D,) float32, or the file of its picture.
        where: how a person finds it in the source: a path or a row.
        stamp: a picture's bytes and time of change, seen before it is read: what changes later is sent again.
    """

    id: str
    identity: str | None
    metadata: dict[str, Any]
    content: Vectors | Path
    where: str
    stamp: tuple[int, int] = field(init=False, default=(0, 0))

    def __post_init__(self) -> None:
        if isinstance(self.content, Path):
            object.__setattr__(self, "stamp", _stat(self.content))

    def size(self) -> int:
        """Return about how many bytes it has in a request; a file that is not there has none."""
        names = _ROW_BYTES + len(self.id) + len(self.identity or "") + len(json.dumps(self.metadata))
        if isinstance(self.content, Path):
            return names + int(self.stamp[0] * _BASE64)
        return names + self.content.nbytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request brings at most; a single item may have more bytes."""

    items: int
    bytes: int


def batches(rows: Iterable[Row], limits: Limits) -> Iterator[list[Row]]:
    """Yield rows together, in order, as many as the limits let."""
    batch: list[Row] = []
    held = 0
    for row in rows:
        size = row.size()
        if batch and (len(batch) >= limits.items or held + size > limits.bytes):
            yield batch
            batch, held = [], 0
        batch.append(row)
        held += size
    if batch:
        yield batch


def id_of_path(path: str) -> str:
    """Return the id of a relative path: ':' in place of '/', what an id cannot hold percent-encoded.

    Different paths have different ids; one of more than 256 characters ends in its digest.

    >>> id_of_path("ann/front 1.jpg")
    'ann:front 1.jpg'
    """
    name = "".join(":" if character == "/" else _encoded(character) for character in path)
    if len(name) <= _MAX_NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: _MAX_NAME_CHARACTERS - 1 - _DIGEST_CHARACTERS]}~{digest}"


def key_of(row: Row) -> int:
    """Return 64 bits that tell a row, as it is now, from every other: its names, metadata and content.

    A picture counts as changed where its size or its time of change has.
    """
    names = json.dumps([row.id, row.identity, row.metadata], sort_keys=True).encode()
    content = repr(row.stamp).encode() if isinstance(row.content, Path) else row.content.tobytes()
    return int.from_bytes(hashlib.blake2b(names + b"\0" + content, digest_size=8).digest(), "little")


def _encoded(character: str) -> str:
    if (
        character in "%:"
        or character < " "
        or "\x7f" <= character <= "\x9f"
        or "\ud800" <= character <= "\udfff"
    ):
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
    return character


def _stat(path: Path) -> tuple[int, int]:
    """Return the bytes of a file and its time of change; zeros where it cannot be seen."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a path that no file can have
        return 0, 0
    return found.st_size, found.st_mtime_ns
