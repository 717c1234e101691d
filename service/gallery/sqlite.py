"""One SQLite file: one writer, pooled readers, every refusal of the disk a StorageError."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from service.errors import NotReadyError, StorageError

__all__ = ["Database"]


class Database:
    """An open SQLite file in WAL mode: a committed write is on the disk, and readers wait for nobody.

    Thread-safe. Readers see the last commit before they began.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open it.

        Raises:
            StorageError: there is no such file, or it is not SQLite's.
        """
        self.path = path
        self._mode = "rwc" if create else "rw"
        self._idle: list[sqlite3.Connection] = []
        self._busy = 0
        self._closed = False
        self._returned = threading.Condition()
        self._write_turn = threading.Lock()
        with self._refusals():
            self._writer = self._connect()
        try:
            self._prepare_writer()
        except BaseException:
            self._writer.close()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection on which every statement sees the same commit.

        Raises:
            NotReadyError: it is closed.
            StorageError: the file cannot be read.
        """
        with self._refusals():
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                self._give_back(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the one writing connection in a transaction, on the disk when the block is left.

        Whatever is raised inside undoes the whole.

        Raises:
            NotReadyError: it is closed.
            StorageError: the file cannot be written; nothing was.
        """
        with self._write_turn, self._refusals():
            self._refuse_if_closed()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Wait for the readers and the writer, and close. Closing twice is fine."""
        with self._write_turn, self._returned:
            self._closed = True
            self._returned.wait_for(lambda: self._busy == 0)
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()

    def _connect(self) -> sqlite3.Connection:
        # isolation_level None: transactions begin and end where this file says so.
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={self._mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )

    def _prepare_writer(self) -> None:
        with self._refusals():
            (mode,) = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StorageError(
                    f"{self.path} cannot have a write-ahead log ({mode}); keep the data on a local disk."
                )
            self._writer.execute("PRAGMA synchronous = FULL")  # fsync at each commit
            self._writer.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        self._mode = "rw"

    def _borrow(self) -> sqlite3.Connection:
        with self._returned:
            self._refuse_if_closed()
            connection = self._idle.pop() if self._idle else self._connect()
            self._busy += 1
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._returned:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._idle.append(connection)
            self._busy -= 1
            self._returned.notify_all()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise NotReadyError(f"{self.path.parent.name!r} is closed.")

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: {error}. {_advice(error)}") from error


def _advice(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]:
        case "CORRUPT" | "NOTADB" | "ERROR":
            return "The file is damaged or not a collection's: restore it from a backup."
        case "FULL":
            return "Nothing was written: free some space on the disk."
        case "CANTOPEN" | "PERM" | "READONLY":
            return "Check that the file is there and may be written by this user."
        case _:
            return "Check the disk, then try again."
