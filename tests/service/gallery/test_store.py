"""The record on disk: labels, damage, and files that are none of ours."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import DamagedItemError, DamageError, StorageError
from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.items import prepare
from service.gallery.schema import Row
from service.gallery.store import Record

CONFIG = CollectionConfig(dimension=2, metric="euclidean", fields={"n": "integer", 'odd"; --': "keyword"})


def row(item_id: str, secret: str = "") -> Row:
    metadata = {"n": 1, 'odd"; --': "x", "secret": secret}
    return prepare(NewItem(item_id, "anna", np.array([1, 2], np.float32), metadata), CONFIG)


def write(record: Record, *item_ids: str) -> list[int]:
    with record.writing() as writer:
        return writer.replace([row(item_id) for item_id in item_ids]).labels


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "record.sqlite3"
    record = Record.create(path, CONFIG)
    write(record, "a", "b", "c")
    record.close()
    return path


def fail_after(_: object) -> None:
    raise ZeroDivisionError


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_labels_are_never_used_again(path: Path) -> None:
    record = Record(path)
    with record.writing() as writer:
        assert writer.delete(["c", "b", "nobody"]) == [2, 3]
    record.close()
    record = Record(path)
    assert write(record, "c", "a") == [4, 5]
    assert [labels.tolist() for labels, _ in record.scan()] == [[4, 5]]
    record.close()


def test_writing_is_undone_where_it_fails(path: Path) -> None:
    record = Record(path)
    with pytest.raises(ZeroDivisionError), record.writing() as writer:
        fail_after(writer.replace([row("d"), row("a")]))
    assert record.get("d") is None
    assert [labels.tolist() for labels, _ in record.scan()] == [[1, 2, 3]]
    assert write(record, "d") == [4]
    record.close()


def test_ids_of_every_spelling_are_replaced(path: Path) -> None:
    record = Record(path)
    names = ['"', "\\", "'", "é", "\U0001f600", "%", "a" * 256, "null", "1", "[]", "\\u0041"]
    write(record, *names)
    with record.writing() as writer:
        assert set(writer.replace([row(name) for name in names]).before) == set(names)
    assert all(record.get(name) is not None for name in names)
    record.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET vector = x'000080BF00000040' WHERE id = 'b'",
        "UPDATE items SET vector = x'00' WHERE id = 'b'",
        "UPDATE items SET identity = 'ben' WHERE id = 'b'",
        "UPDATE items SET identity = NULL WHERE id = 'b'",
        "UPDATE items SET metadata = '{}' WHERE id = 'b'",
        "UPDATE items SET field_0 = 2 WHERE id = 'b'",
        "UPDATE items SET checksum = checksum + 1 WHERE id = 'b'",
        "UPDATE items SET label = 77 WHERE id = 'b'",
    ],
)
def test_damaged_row_is_named(path: Path, statement: str) -> None:
    change(path, statement)
    record = Record(path)
    with pytest.raises(StorageError, match=r"item 'b'.*damaged.*backup"):
        list(record.scan())
    record.close()


def test_missing_row_is_noticed(path: Path) -> None:
    change(path, "DELETE FROM items WHERE id = 'b'")
    record = Record(path)
    with pytest.raises(StorageError, match="2 items where 3 were written"):
        list(record.scan())
    record.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "UPDATE meta SET value = value - 1 WHERE key IN ('schema_version', 'config_checksum')",
            "schema version 1.*version of this program",
        ),
        (
            "DELETE FROM meta WHERE key IN ('schema_version', 'config_checksum')",
            "not as it was written.*backup",
        ),
        ("UPDATE meta SET value = 3 WHERE key = 'schema_version'", "not as it was written.*backup"),
        ("UPDATE meta SET value = '{' WHERE key = 'config'", "not as it was written.*backup"),
        ("UPDATE meta SET value = replace(value, '2', '3') WHERE key = 'config'", "not as it was written"),
        ("DROP TABLE meta", "damaged or not a collection's"),
        ("DROP TABLE items", "damaged or not a collection's"),
        ("ALTER TABLE items DROP COLUMN metadata", "damaged or not a collection's"),
    ],
)
def test_record_of_another_kind_is_refused_in_words(path: Path, statement: str, words: str) -> None:
    change(path, statement)
    with pytest.raises(StorageError, match=words):
        Record(path)


def test_file_that_is_not_a_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError, match="damaged"):
        Record(path)


def test_missing_file_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(DamageError, match=r"is missing\. .*backup in its place.*lookalike restore"):
        Record(tmp_path / "record.sqlite3")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_refuses_the_whole_write(path: Path) -> None:
    record = Record(path)
    with record._database.writing() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StorageError, match="free some space"), record.writing() as writer:
        writer.replace([row(str(i), "x" * 1000) for i in range(100)])
    assert [labels.tolist() for labels, _ in record.scan()] == [[1, 2, 3]]
    assert write(record, "d") == [4]
    record.close()


def test_deleted_content_is_overwritten(path: Path) -> None:
    record = Record(path)
    with record.writing() as writer:
        writer.replace([row("d", "very-secret-text")])
    with record.writing() as writer:
        writer.delete(["d"])
    record.close()
    assert b"very-secret-text" not in path.read_bytes()


def test_reader_sees_one_commit_while_another_is_written(path: Path) -> None:
    record = Record(path)
    scan = record.scan()
    first, _ = next(scan)
    write(record, "d")
    assert first.tolist() == [1, 2, 3]
    assert list(scan) == []
    assert [labels.tolist() for labels, _ in record.scan()] == [[1, 2, 3, 4]]
    record.close()


@pytest.mark.parametrize("statement", ["identity = 'ben'", "metadata = '{}'", "vector = x'000080BF00000040'"])
def test_a_damaged_row_is_named_by_whoever_reads_it_and_the_others_are_read(
    statement: str, path: Path
) -> None:
    change(path, f"UPDATE items SET {statement} WHERE id = 'b'")
    record = Record(path)
    label_a, label_b, label_c = record.labels().tolist()
    damaged: list[Callable[[], object]] = [
        lambda: record.get("b"),
        lambda: record.items([label_a, label_b]),
    ]
    for read in damaged:
        with pytest.raises(StorageError, match=r"item 'b'.*damaged.*delete it.*backup"):
            read()
    assert record.get("a") is not None
    assert record.items([label_a, label_c]).keys() == {label_a, label_c}
    listed = record.after(0, limit=10, identity=None)
    assert [label for label, _ in listed] == [label_a, label_b, label_c]
    assert [label for label, one in listed if isinstance(one, DamagedItemError)] == [label_b]
    record.close()
