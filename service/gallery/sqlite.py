"""One SQLite file: one writer, pooled readers, every refusal of the disk a StorageError."""

import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from service.errors import CollectionDroppedError, DamageError, NotReadyError, StorageError
from service.gallery.damage import refuse_missing, restore_advice

__all__ = ["WAL_BYTES", "Database", "connected", "is_damage", "is_refusal", "refused_by_disk", "savepoint"]

WAL_BYTES = 64 * 2**20  # of a log: beyond, it is emptied in the background
_SHORTEN_MS = 50  # for which writers wait: short readings end meanwhile, and later ones leave the log alone
_SHORTEN_EVERY_S = 5.0


class Database:
    """An open SQLite file in WAL mode: a committed write is on the disk, and readers wait for nobody.

    Thread-safe. Readers see the last commit before they began. A statement that SQLite does not understand is
    no refusal of the disk, and raises sqlite3.OperationalError.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        """Open it.

        Args:
            path: of the file.
            create: it is made.
            read_only: it stays as it is to the byte, and who would write to it is refused.

        Raises:
            DamageError: there is no such file, or it is not SQLite's; readers hear that of a read-only one.
            StorageError: the disk refused; likewise.
        """
        self.path = path
        self._mode = "ro" if read_only else "rwc" if create else "rw"
        self._idle: list[sqlite3.Connection] = []
        self._busy = 0
        self._shorten_next_s = -math.inf  # on the monotonic clock
        self._state: Literal["open", "closed", "dropped"] = "open"
        self._returned = threading.Condition()
        self._write_turn = threading.Lock()
        with self._refusals():
            self._writer: sqlite3.Connection | None = None if read_only else self._connect_writer()
        self._mode = "ro" if read_only else "rw"

    @contextlib.contextmanager
    def reading(self, *, once: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection on which every statement sees the same commit.

        Args:
            once: for one statement, which needs no transaction around it: two calls less at which the
                interpreter may change hands.

        Raises:
            NotReadyError, CollectionDroppedError: it is closed.
            StorageError: the file cannot be read.
        """
        with self._refusals():
            connection = self._borrow()
            try:
                if not once:
                    connection.execute("BEGIN")
                yield connection
            finally:
                self._give_back(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the one writing connection in a transaction, on the disk when the block is left.

        Whatever is raised inside undoes the whole.

        Raises:
            NotReadyError, CollectionDroppedError: it is closed.
            StorageError: the file cannot be written; nothing was.
        """
        with self._write_turn, self._refusals():
            writer = self._open_writer()
            try:
                writer.execute("BEGIN IMMEDIATE")
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                if not _rolled_back(writer):
                    self._writer = None
                raise

    def write_anew(self) -> None:
        """Write every page anew, so that nothing lies in them but what is there; writers wait meanwhile.

        It takes as much space again, for a moment, where SQLite keeps its temporary files and in the log.
        """
        with self._write_turn, self._refusals():
            self._open_writer().execute("VACUUM")

    def checkpoint(self, *, wait_ms: int = 1000) -> bool:
        """Bring what is in the write-ahead log into the file, and empty it; return whether that was possible.

        What was deleted is then in neither, for it was written over. Writers wait while what was written
        meanwhile is brought over, and for readers.

        Args:
            wait_ms: how long to wait for those who read.
        """
        with self.reading(once=True) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        with self._write_turn, self._refusals():
            writer = self._open_writer()
            (usual,) = writer.execute("PRAGMA busy_timeout").fetchone()
            writer.execute(f"PRAGMA busy_timeout = {wait_ms}")
            try:
                (busy, _, _) = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                writer.execute(f"PRAGMA busy_timeout = {usual}")
            return not busy

    def shorten_log(self) -> None:
        """Empty the log where it is too long, unless somebody was in the way a few seconds ago."""
        if self.wal_bytes() <= WAL_BYTES or time.monotonic() < self._shorten_next_s:
            return
        if not self.checkpoint(wait_ms=_SHORTEN_MS):
            self._shorten_next_s = time.monotonic() + _SHORTEN_EVERY_S

    def wal_bytes(self) -> int:
        """Return how long the write-ahead log is."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def close(self, *, dropped: bool = False) -> None:
        """Refuse whoever comes, wait for the readers and the writer, and close. Closing twice is fine.

        Args:
            dropped: say to those who come later that it was deleted; the first close decides.
        """
        with self._returned:
            if self._state == "open":
                self._state = "dropped" if dropped else "closed"
        with self._write_turn, self._returned:
            self._returned.wait_for(lambda: self._busy == 0)
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            if self._writer is not None:
                self._writer.close()

    def refuse_if_closed(self) -> None:
        """Raise NotReadyError where it is closed, CollectionDroppedError where it was deleted."""
        if self._state == "open":
            return
        name = self.path.parent.name
        if self._state == "dropped":
            raise CollectionDroppedError(f"The collection {name!r} was deleted meanwhile.")
        raise NotReadyError(f"The collection {name!r} is closed.")

    def _open_writer(self) -> sqlite3.Connection:
        """Return the writing connection, opened again where an error closed it."""
        self.refuse_if_closed()
        self._writer = self._writer or self._connect_writer()
        return self._writer

    def _connect(self) -> sqlite3.Connection:
        return connected(self.path, self._mode)

    def _connect_writer(self) -> sqlite3.Connection:
        writer = self._connect()
        try:
            (mode,) = writer.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StorageError(
                    f"{self.path} cannot have a write-ahead log ({mode}); keep the data on a local disk."
                )
            writer.execute("PRAGMA synchronous = FULL")  # fsync at each commit
            writer.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
            writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")  # a log that grew becomes short again
        except BaseException:
            writer.close()
            raise
        return writer

    def _borrow(self) -> sqlite3.Connection:
        with self._returned:
            self.refuse_if_closed()
            connection = self._idle.pop() if self._idle else self._connect()
            self._busy += 1
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        usable = False
        try:
            usable = _rolled_back(connection)
        finally:
            with self._returned:
                if usable:
                    self._idle.append(connection)
                self._busy -= 1
                self._returned.notify_all()

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except UnicodeDecodeError as error:  # of what SQLite says of a damaged schema
            raise DamageError(f"{self.path} is damaged. {restore_advice(self.path)}") from error
        except sqlite3.Error as error:
            if is_damage(error):
                raise DamageError(
                    f"{self.path}: {error}. The file is damaged or not a collection's. "
                    f"{restore_advice(self.path)}"
                ) from error
            if not is_refusal(error):
                raise
            if self._mode != "rwc":
                refuse_missing(self.path)
            raise StorageError(f"{self.path}: {error}. {_advice(error)}") from error


def connected(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection; bytes that are no text come as text that no checksum is of: so rows are named."""
    # isolation_level None: transactions begin and end where this package says so.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = lambda text: text.decode(errors="surrogateescape")
    return connection


@contextlib.contextmanager
def savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo what the block did, and only that, where it raises; the transaction goes on."""
    connection.execute("SAVEPOINT one")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # some refusals of the disk have ended it already
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
        raise
    connection.execute("RELEASE one")


def is_refusal(error: sqlite3.Error) -> bool:
    """Return whether the disk or the file is the cause, and not the statement."""
    return _kind(error) != "ERROR"


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the file holds what SQLite has not written."""
    return _kind(error) in ("CORRUPT", "NOTADB", "TOOBIG") or "malformed JSON" in str(error)


def refused_by_disk(error: Exception) -> bool:
    """Return whether the disk refused, which may end, and is no damage."""
    return isinstance(error, sqlite3.Error) and is_refusal(error) and not is_damage(error)


def _rolled_back(connection: sqlite3.Connection) -> bool:
    """End the connection's transaction, if any; where that fails close it, which ends it too."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        connection.close()
        return False
    return True


def _kind(error: sqlite3.Error) -> str:
    """Return the primary code of SQLite, without its prefix: "FULL", "IOERR"; "ERROR" is a bad statement."""
    return str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_").partition("_")[0]


def _advice(error: sqlite3.Error) -> str:
    match _kind(error):
        case "FULL":
            return "Nothing was written: free some space on the disk."
        case "CANTOPEN" | "PERM" | "READONLY":
            return "Check that the file is there and may be written by this user."
        case _:
            return "Check the disk, then try again."
