"""A disk that refuses while collections are made and dropped: they are there whole or not at all."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import NotReadyError, StorageError
from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.embedded import EmbeddedCollection
from service.gallery.folders import sync_folder
from service.gallery.gallery import Gallery
from service.gallery.index.accelerator import Work

CONFIG = CollectionConfig(dimension=2, metric="cosine")


def new(item_id: str) -> NewItem:
    return NewItem(item_id, None, np.array([1, 2], np.float32), {})


class FailingSync:
    """Syncs folders, or does something else first where it is told to."""

    def __init__(self) -> None:
        self.synced: list[Path] = []
        self.first: Callable[[Path], None] | None = None

    def __call__(self, folder: Path) -> None:
        self.synced.append(folder)
        if self.first is not None:
            self.first(folder)
        sync_folder(folder)


def disk_full(folder: Path) -> None:
    if folder.name == "collections":
        raise OSError(errno.ENOSPC, "No space left on device")


def assert_usable(gallery: Gallery, folder: Path) -> None:
    """Check that a collection whose drop failed is there, works, and can still be dropped."""
    assert [one.name for one in gallery.list()] == ["people"]
    assert [path.name for path in (folder / "collections").iterdir()] == ["people"]
    people, created = gallery.create("people", CONFIG)
    assert not created
    assert people.upsert([new("b")])[0].status == "created"
    assert people.get("a") is not None
    assert gallery.drop("people") == 2
    assert list((folder / "collections").iterdir()) == []


def test_drop_that_cannot_begin_changes_nothing(tmp_path: Path) -> None:
    folder, away = tmp_path / "collections", tmp_path / "away"
    with Gallery(tmp_path) as gallery:
        people, _ = gallery.create("people", CONFIG)
        people.upsert([new("a")])
        folder.rename(away)
        folder.write_text("a file in the way")
        with pytest.raises(StorageError, match="Not a directory"):
            gallery.drop("people")
        assert gallery.get("people") is people
        folder.unlink()
        away.rename(folder)
        assert_usable(gallery, tmp_path)


def test_drop_whose_move_fails_leaves_the_collection_open(tmp_path: Path) -> None:
    with Gallery(tmp_path) as gallery:
        people, _ = gallery.create("people", CONFIG)
        people.upsert([new("a")])
        refused: list[Exception] = []

        def drop() -> None:
            try:
                gallery.drop("people")
            except StorageError as error:
                refused.append(error)

        dropping = threading.Thread(target=drop)
        assert isinstance(people, EmbeddedCollection)
        with people._record._database.reading():  # the drop waits for it, with its folder made
            dropping.start()
            while not (made := list((tmp_path / "collections").glob(".unfinished-*"))):
                time.sleep(0.001)
            made[0].rmdir()
        dropping.join()
        assert "No such file" in str(refused)
        assert_usable(gallery, tmp_path)


def test_drop_that_does_not_reach_the_disk_is_undone(tmp_path: Path) -> None:
    sync = FailingSync()
    with Gallery(tmp_path, sync=sync) as gallery:
        gallery.create("people", CONFIG)[0].upsert([new("a")])
        sync.first = disk_full
        with pytest.raises(StorageError, match="No space left"):
            gallery.drop("people")
        sync.first = None
        assert_usable(gallery, tmp_path)


def damage(folder: Path) -> None:
    """Damage what was just moved to its place, so that it cannot be opened; then fail, too."""
    if folder.name != "collections":
        return
    if not (folder / "people").exists():
        disk_full(folder)
    (folder / "people" / "record.sqlite3").write_bytes(b"no database" * 1000)


def test_failed_create_leaves_nothing(tmp_path: Path) -> None:
    sync = FailingSync()
    with Gallery(tmp_path, sync=sync) as gallery:
        for fault, words in ((disk_full, "No space left"), (damage, "damaged")):
            sync.first = fault
            with pytest.raises(StorageError, match=words):
                gallery.create("people", CONFIG)
            assert [one.name for one in gallery.list()] == []
            assert list((tmp_path / "collections").iterdir()) == []
        sync.first = None
        (tmp_path / "collections" / "people").write_text("a file in the way")
        with pytest.raises(StorageError, match="Not a directory"):
            gallery.create("people", CONFIG)
        (tmp_path / "collections" / "people").unlink()
        assert gallery.create("people", CONFIG)[1]


def test_every_folder_that_is_made_is_synced_into_its_parent(tmp_path: Path) -> None:
    sync = FailingSync()
    data_dir = tmp_path / "srv" / "lookalike" / "data"
    with Gallery(data_dir, sync=sync) as gallery:
        assert sync.synced[:4] == [tmp_path, tmp_path / "srv", tmp_path / "srv" / "lookalike", data_dir]
        sync.synced.clear()
        gallery.create("people", CONFIG)
        assert sync.synced[-1] == data_dir / "collections"
        assert sync.synced[0].parent.parent == data_dir / "collections"
        sync.synced.clear()
        gallery.drop("people")
        assert sync.synced == [data_dir / "collections"]


def test_what_is_adopted_while_the_gallery_closes_leaves_nothing(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)

    def fill(folder: Path) -> None:
        EmbeddedCollection.create(folder, CONFIG)
        gallery.close()

    with pytest.raises(NotReadyError, match="closed"):
        gallery.adopt("people", fill, Work(1, threading.Event(), lambda done, total: None))
    assert list((tmp_path / "collections").iterdir()) == []
    with Gallery(tmp_path) as again:
        assert again.list() == []


def test_a_closed_gallery_drops_nothing(tmp_path: Path) -> None:
    record = tmp_path / "collections" / "people" / "record.sqlite3"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"no database" * 1000)
    with Gallery(tmp_path) as gallery:
        assert list(gallery.unopened()) == ["people"]
    with pytest.raises(NotReadyError, match="closed"):
        gallery.drop("people")
    assert record.exists()
