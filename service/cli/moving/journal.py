"""What of an import a server has acknowledged, on disk, so that the same command goes on where it ended."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import click
import numpy as np
import numpy.typing as npt

__all__ = ["Journal", "Keys"]

Keys: TypeAlias = npt.NDArray[np.uint64]

_HEAD_BYTES = 32
_KEY = np.dtype("<u8")


class Journal:
    """The keys of acknowledged rows: a digest of where they went, then 8 bytes a row.

    It is not fsynced: a row that it lost is sent again, under the same id.

    Without a row it leaves no file.

    Args:
        path: the file.
        target: what the rows were sent to; a journal of another target is not this import's.

    Raises:
        ClickException: the file is another import's, or none of ours.
    """

    def __init__(self, path: Path, target: str) -> None:
        self.path = path
        self._head = hashlib.sha256(target.encode()).digest()
        content = path.read_bytes() if path.exists() else b""
        if content[:_HEAD_BYTES] != self._head[: len(content)]:
            raise click.ClickException(
                f"{path} is the journal of another import; name another with --journal, or delete it."
            )
        rows = max(0, len(content) - _HEAD_BYTES) // _KEY.itemsize  # what was cut off at the end counts not
        self._known: Keys = np.unique(np.frombuffer(content[_HEAD_BYTES:], _KEY, rows))
        try:
            self._file = path.open("r+b" if len(content) >= _HEAD_BYTES else "wb")
        except OSError as error:
            raise click.ClickException(
                f"{path}: {error.strerror}. Name a file that can be written with --journal."
            ) from error
        if len(content) < _HEAD_BYTES:
            self._file.write(self._head)
            self._file.flush()
        self._file.truncate(_HEAD_BYTES + rows * _KEY.itemsize)
        self._file.seek(_HEAD_BYTES + rows * _KEY.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        empty = self._file.tell() <= _HEAD_BYTES
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
        self._file.truncate(_HEAD_BYTES)
        self._file.seek(_HEAD_BYTES)
