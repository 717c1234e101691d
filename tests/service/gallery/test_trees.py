"""Where SQLite begins the trees of a record is known from its configuration."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from service.gallery import trees
from service.gallery.collection import MAX_FIELDS, CollectionConfig, NewItem
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.fields import FieldType
from tests.service.gallery.conftest import MakeCollection, MakeItem


def layout_of(path: Path) -> trees.Layout:
    with closing(sqlite3.connect(path)) as connection:
        return trees.layout_in(connection)


def config_of(fields: int, *, keep_images: bool) -> CollectionConfig:
    names: dict[str, FieldType] = {f"f{i}": "integer" for i in range(fields)}
    return CollectionConfig(dimension=2, metric="euclidean", fields=names, keep_images=keep_images)


@pytest.mark.parametrize("keep_images", [False, True])
@pytest.mark.parametrize("fields", [0, 1, 30, 40, MAX_FIELDS])
def test_it_is_where_a_record_has_them_that_was_made_written_anew_or_backed_up(
    fields: int, *, keep_images: bool, tmp_path: Path
) -> None:
    config = config_of(fields, keep_images=keep_images)
    EmbeddedCollection.create(tmp_path, config)
    collection = EmbeddedCollection(tmp_path)
    vector = np.ones(2, np.float32)
    metadata = {"words": "x" * 3_000}
    collection.upsert([NewItem(str(i), str(i), vector, metadata, b"j" * 3_000) for i in range(20)])
    made, anew = trees.layouts(config)
    assert layout_of(tmp_path / RECORD_FILE) == made
    with closing(sqlite3.connect(tmp_path / RECORD_FILE)) as connection:
        connection.execute("VACUUM INTO ?", [str(tmp_path / "backup")])
    assert layout_of(tmp_path / "backup") == anew
    for name in ("3", "4"):
        assert collection.erase(name).erased
        assert layout_of(tmp_path / RECORD_FILE) == anew
    collection.close()
    assert trees.are_right(made, config)
    assert trees.are_right(anew, config)


def test_one_that_begins_elsewhere_is_damage() -> None:
    config = config_of(3, keep_images=True)
    for layout in trees.layouts(config):
        for number, entry in enumerate(layout):
            moved = (*layout[:number], entry._replace(root=entry.root + 1), *layout[number + 1 :])
            assert not trees.are_right(moved, config)


def test_a_record_that_others_put_together_is_opened_as_it_is(
    collection: MakeCollection, item: MakeItem, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = collection(fields={"n": "integer"})
    made.upsert([item(str(i), [i, 1], text="x" * 3_000) for i in range(20)])
    made.close()
    path = tmp_path / "people" / RECORD_FILE
    with closing(sqlite3.connect(path)) as connection:
        dump = "\n".join(connection.iterdump())
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump)
    assert layout_of(path) not in trees.layouts(made.config)
    again = collection()
    assert again.stats().items == 20
    assert again.stats().integrity.state == "ok"
    assert caplog.text == ""
