"""The SQLite file: what happens to connections that fail, and what is no fault of the disk."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import StorageError
from service.gallery.sqlite import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "people.sqlite3", create=True)
    with database.writing() as connection:
        connection.execute("CREATE TABLE t (n)")
    yield database
    closing = threading.Thread(target=database.close, daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive(), "close() waits for a connection that never comes back"


def refuse_rollback(connection: sqlite3.Connection) -> None:
    """Let SQLite itself refuse every ROLLBACK on this connection."""

    def authorize(action: int, first: str | None, *_: str | None) -> int:
        rollback = action == sqlite3.SQLITE_TRANSACTION and first == "ROLLBACK"
        return sqlite3.SQLITE_DENY if rollback else sqlite3.SQLITE_OK

    connection.set_authorizer(authorize)


def insert_and_fail(database: Database) -> None:
    with database.writing() as connection:
        refuse_rollback(connection)
        connection.execute("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError


def rows(database: Database) -> list[int]:
    with database.reading() as connection:
        return [n for (n,) in connection.execute("SELECT n FROM t")]


def test_reader_that_cannot_roll_back_is_not_used_again(database: Database) -> None:
    with database.reading() as broken:
        refuse_rollback(broken)
    with database.reading() as connection:
        assert connection is not broken
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        broken.execute("SELECT 1")


def test_writer_that_cannot_roll_back_is_replaced_and_nothing_is_written(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        insert_and_fail(database)
    with database.writing() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    assert rows(database) == [2]
    assert synchronous == 2


@pytest.mark.parametrize("statement", ["SELECT missing FROM t", "SELECT " + "+".join(["1"] * 2000)])
def test_statement_that_sqlite_refuses_is_not_told_as_damage(database: Database, statement: str) -> None:
    words = "no such column|Expression tree"
    with pytest.raises(sqlite3.OperationalError, match=words), database.reading() as connection:
        connection.execute(statement)
    assert rows(database) == []


def test_damage_is_told_as_damage(database: Database) -> None:
    database.close()
    database.path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"damaged.*backup"):
        Database(database.path)


def test_one_that_is_read_only_stays_as_it_is_and_lets_nobody_write(database: Database) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    copy = database.path.with_name("copy.sqlite3")
    with database.reading(once=True) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    before = copy.read_bytes()
    only_read = Database(copy, read_only=True)
    assert rows(only_read) == [1]
    with pytest.raises(StorageError, match="may be written"):
        insert_and_fail(only_read)
    only_read.close()
    assert copy.read_bytes() == before
    assert [path.name for path in copy.parent.glob("copy*")] == ["copy.sqlite3"]
