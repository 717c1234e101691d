"""What of an import a server has acknowledged, on disk, so that the same command goes on where it ended."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias

import click
import numpy as np
import numpy.typing as npt

__all__ = ["Journal", "Keys", "Target"]

Keys: TypeAlias = npt.NDArray[np.uint64]

_MAGIC = b"lookalike import 1 "
_KEY = np.dtype("<u8")


class Target(NamedTuple):
    """Where rows are sent."""

    url: str
    collection: str


class Journal:
    """The keys of acknowledged rows: a line that says where they went, then 8 bytes a row.

    It is not fsynced: a row that it lost is sent again, under the same id.

    Without a row it leaves no file.

    Args:
        path: the file.
        target: what the rows were sent to; a journal of another target is not this import's.

    Raises:
        ClickException: the file is another import's, or none of ours.
    """

    def __init__(self, path: Path, target: Target) -> None:
        self.path = path
        head = _head_of(target)
        self._begin = len(head)
        content = path.read_bytes() if path.exists() else b""
        if content[: len(head)] != head[: len(content)]:
            raise click.ClickException(_difference(path, content, target))
        rows = max(0, len(content) - len(head)) // _KEY.itemsize  # what was cut off at the end counts not
        self._known: Keys = np.unique(np.frombuffer(content[len(head) :], _KEY, rows))
        try:
            self._file = path.open("r+b" if len(content) >= len(head) else "wb")
        except OSError as error:
            raise click.ClickException(
                f"{path}: {error.strerror}. Name a file that can be written with --journal."
            ) from error
        if len(content) < len(head):
            self._file.write(head)
            self._file.flush()
        self._file.truncate(len(head) + rows * _KEY.itemsize)
        self._file.seek(len(head) + rows * _KEY.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        empty = self._file.tell() <= self._begin
        self._file.close()
        if empty:
            self.path.unlink(missing_ok=True)

    def __len__(self) -> int:
        """Return how many rows were acknowledged before this run."""
        return len(self._known)

    def known(self, keys: Iterable[int]) -> list[bool]:
        """Return of each key whether its row was acknowledged before this run."""
        return [bool(one) for one in np.isin(np.fromiter(keys, dtype=_KEY), self._known)]

    def add(self, keys: Iterable[int]) -> None:
        """Note that these rows were acknowledged."""
        self._file.write(np.fromiter(keys, dtype=_KEY).tobytes())
        self._file.flush()

    def forget(self) -> None:
        """Begin anew: nothing was acknowledged."""
        self._known = np.empty(0, dtype=_KEY)
        self._file.truncate(self._begin)
        self._file.seek(self._begin)


def _head_of(target: Target) -> bytes:
    """Return the line with which a journal begins; JSON, so that it has no other end of line in it."""
    return _MAGIC + json.dumps(target).encode() + b"\n"


def _difference(path: Path, content: bytes, target: Target) -> str:
    """Say of what a journal is that is not the one of this target, and what to do."""
    line = content.partition(b"\n")[0]
    try:
        url, collection = json.loads(line.removeprefix(_MAGIC))
    except (ValueError, TypeError):
        url = collection = None
    if not line.startswith(_MAGIC) or collection is None:
        return f"{path} is not the journal of an import; name another file with --journal."
    return (
        f"{path} is the journal of an import into {collection!r} at {url}, and this one is into "
        f"{target.collection!r} at {target.url}. Name another with --journal; or delete it: then all is sent "
        "again, and each item is replaced by itself."
    )
