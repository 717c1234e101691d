"""The files of a snapshot: on the disk, hashed by blocks, erased in places."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

from service.gallery.index.buffers import Integers

__all__ = ["Hashes", "blank", "digest_of", "hash_again", "hashes_of", "put_on_disk", "write_manifest"]

_BLOCK_BYTES = 4 * 2**20

Hashes: TypeAlias = list[str]


def blank(path: Path, positions: Integers, *, rows: int, row_bytes: int) -> set[int]:
    """Write zeros over some of the rows at the end of a file, and return the numbers of their blocks."""
    begin = path.stat().st_size - row_bytes * rows
    touched: set[int] = set()
    with path.open("r+b") as file:
        for position in positions.tolist():
            at = begin + position * row_bytes
            file.seek(at)
            file.write(bytes(row_bytes))
            touched.update(range(at // _BLOCK_BYTES, (at + row_bytes - 1) // _BLOCK_BYTES + 1))
        file.flush()
        os.fsync(file.fileno())
    return touched


def write_manifest(path: Path, body: dict[str, Any]) -> None:
    """Write it aside, and put it in its place whole."""
    aside = path.with_suffix(".tmp")
    with aside.open("wb") as file:
        file.write(_encoded({"sha256": digest_of(body), "body": body}))
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def _encoded(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def digest_of(value: Any) -> str:
    """Return the hash of a value that can be JSON."""
    return _digest(_encoded(value))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hashes_of(path: Path, go_on: Callable[[], None] = lambda: None) -> Hashes:
    """Return the hash of each block of a file; a missing one raises OSError."""
    block, size = _block_hash(path), path.stat().st_size

    def hash_at(at: int) -> str:
        go_on()
        return block(at)

    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing lets the other threads run
        return list(pool.map(hash_at, range(0, size, _BLOCK_BYTES)))


def hash_again(path: Path, hashes: Hashes, blocks: Iterable[int]) -> None:
    """Put the hashes of some blocks, which were changed, in the place of theirs."""
    block = _block_hash(path)
    for number in blocks:
        hashes[number] = block(number * _BLOCK_BYTES)


def _block_hash(path: Path) -> Callable[[int], str]:
    def block(at: int) -> str:
        with path.open("rb") as file:
            file.seek(at)
            return _digest(file.read(_BLOCK_BYTES))

    return block


def put_on_disk(path: Path) -> None:
    """Put what was written to a file on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
