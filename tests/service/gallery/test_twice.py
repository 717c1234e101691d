"""Two rows of one id, as a damaged index of ids leaves them: the later one is kept."""

import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from service.gallery.collection import SearchOptions
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from tests.service.gallery.conftest import MakeCollection, MakeItem


def damage_index_of_ids(path: Path) -> None:
    """Write another letter in place of the id 'bbbb' in SQLite's index."""
    connection = sqlite3.connect(path)
    sql = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_items_1'"
    (page,) = connection.execute(sql).fetchone()
    connection.close()
    data = path.read_bytes()
    at = data.index(b"bbbb", 4096 * (page - 1), 4096 * page)
    with path.open("r+b") as file:
        file.seek(at + 3)
        file.write(b"c")


def twice(made: EmbeddedCollection, item: MakeItem, path: Path) -> None:
    made.upsert([item("aaaa", [0, 1]), item("bbbb", [1, 1]), item("dddd", [2, 1])])
    assert made._record.checkpoint()
    damage_index_of_ids(path)
    made._record._database._idle.clear()  # pages that a connection remembers are right
    made._record._database._writer = None
    assert made.upsert([item("bbbb", [5, 1])])[0].status == "created"


def test_the_later_row_of_an_id_is_kept(
    collection: MakeCollection, item: MakeItem, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = collection()
    path = tmp_path / "people" / RECORD_FILE
    twice(made, item, path)
    made.scrub.run(threading.Event())
    assert made.stats().integrity.state == "damaged"
    assert (tmp_path / "people" / "check-at-start").exists()
    made.close()
    again = collection()
    assert "no item was lost" in caplog.text
    integrity = again.stats().integrity
    assert (again.stats().items, integrity.state, integrity.damaged_items) == (3, "ok", 0)
    (found,) = again.search(np.array([[5, 1]], np.float32), SearchOptions(k=10))
    assert [(one.id, one.distance) for one in found] == [("bbbb", 0.0), ("dddd", 3.0), ("aaaa", 5.0)]
