"""The folder of collections: made, found, dropped, locked."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import (
    CollectionDroppedError,
    ConflictError,
    InvalidFieldsError,
    NotFoundError,
    NotReadyError,
    RequestError,
    StorageError,
)
from service.gallery.collection import Collection, CollectionConfig, NewItem, SearchOptions
from service.gallery.filters import parse_filter
from service.gallery.gallery import Gallery

CONFIG = CollectionConfig(dimension=2, metric="cosine", fields={"camera": "keyword", "n": "integer"})


def new(item_id: str) -> NewItem:
    return NewItem(item_id, None, np.array([1, 2], np.float32), {})


def names(gallery: Gallery) -> list[str]:
    return [collection.name for collection in gallery.list()]


def test_collections_are_made_once_and_opened_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Gallery(tmp_path) as gallery:
        people, created = gallery.create("people", CONFIG)
        assert created
        assert gallery.create("people", CONFIG) == (people, False)
        turned = CollectionConfig(dimension=2, metric="cosine", fields={"n": "integer", "camera": "keyword"})
        assert gallery.create("people", turned) == (people, False)
        gallery.create(
            "cars", CollectionConfig(dimension=3, metric="euclidean", encoder="e", fingerprint="f")
        )
        people.upsert([new("a")])
        assert names(gallery) == ["cars", "people"]
    with caplog.at_level(logging.INFO), Gallery(tmp_path) as gallery:
        assert names(gallery) == ["cars", "people"]
        again: Collection = gallery.get("people")
        assert again.config == CONFIG
        assert again.stats().items == 1
        assert gallery.get("cars").config.fingerprint == "f"
    assert "opened collection people (2 of 2): 1 items" in caplog.text


def test_another_configuration_is_a_conflict_that_says_what_differs(tmp_path: Path) -> None:
    with Gallery(tmp_path) as gallery:
        gallery.create("people", CONFIG)
        with pytest.raises(
            ConflictError, match=r'dimension is 2, not 3.*metric is "cosine", not "euclidean"'
        ):
            gallery.create("people", CollectionConfig(dimension=3, metric="euclidean", fields=CONFIG.fields))


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "a/b", "a b", "é", "a" * 65, "a\n"])
def test_names_that_no_collection_can_have_are_refused(tmp_path: Path, name: str) -> None:
    with Gallery(tmp_path) as gallery, pytest.raises(RequestError, match="cannot name a collection"):
        gallery.create(name, CONFIG)


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"dimension": 0}, "/dimension"),
        ({"metric": "manhattan"}, "/metric"),
        ({"index_type": "magic"}, "/index/type"),
        ({"fields": {"id": "keyword"}}, "/fields/id"),
        ({"fields": {"a/b~": "text"}}, "/fields/a~1b~0"),
        ({"fields": {f"f{i}": "keyword" for i in range(65)}}, "/fields"),
    ],
)
def test_configurations_that_no_collection_can_have_are_refused(
    config: dict[str, object], pointer: str
) -> None:
    usual: dict[str, object] = {"dimension": 2, "metric": "cosine"}
    with pytest.raises(InvalidFieldsError) as raised:
        CollectionConfig(**(usual | config))  # type: ignore[arg-type]
    assert [found for found, _ in raised.value.errors] == [pointer]


def test_missing_collection_names_the_close_ones(tmp_path: Path) -> None:
    with Gallery(tmp_path) as gallery:
        gallery.create("people", CONFIG)
        with pytest.raises(NotFoundError, match="Did you mean 'people'"):
            gallery.get("poeple")
        with pytest.raises(NotFoundError, match=r"no collection 'x'\.$"):
            gallery.drop("x")


CALLS: list[Callable[[Collection], object]] = [
    lambda collection: collection.upsert([new("b")]),
    lambda collection: collection.delete(["a"]),
    lambda collection: collection.delete_where(parse_filter({"id": "a"})),
    lambda collection: collection.get("a"),
    lambda collection: collection.page(limit=1),
    lambda collection: collection.search(np.ones((1, 2), np.float32), SearchOptions()),
    lambda collection: collection.stats(),
]


def test_dropped_collection_is_gone_from_disk_and_its_name_is_free(tmp_path: Path) -> None:
    with Gallery(tmp_path) as gallery:
        old, _ = gallery.create("people", CONFIG)
        old.upsert([new("a"), new("b"), new("c")])
        assert gallery.drop("people") == 3
        assert list((tmp_path / "collections").iterdir()) == []
        for call in CALLS:
            with pytest.raises(CollectionDroppedError, match="'people' was deleted"):
                call(old)
        old.close()
        with pytest.raises(NotFoundError):
            old.get("a")
        new_one, created = gallery.create("people", CONFIG)
        assert created
        assert new_one.stats().items == 0
        new_one.upsert([new("b")])
    with Gallery(tmp_path) as gallery:
        assert gallery.get("people").get("a") is None
        assert gallery.get("people").get("b") is not None


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    Gallery(tmp_path).close()
    leftover = tmp_path / "collections" / ".unfinished-x1" / "people"
    leftover.mkdir(parents=True)
    (leftover / "record.sqlite3").write_bytes(b"half")
    with Gallery(tmp_path) as gallery:
        assert names(gallery) == []
    assert list((tmp_path / "collections").iterdir()) == []


def test_second_server_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    script = "import pathlib, sys, service.gallery.gallery as g; g.Gallery(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(tmp_path)]
    with Gallery(tmp_path):
        with pytest.raises(StorageError, match="in use by another server"):
            Gallery(tmp_path)
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "in use by another server" in refused.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_data_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Not a directory"):
        Gallery(tmp_path / "file" / "data")
    (tmp_path / "collections").write_text("")
    with pytest.raises(StorageError, match="File exists"):
        Gallery(tmp_path)


def test_closed_gallery_says_so(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    people, _ = gallery.create("people", CONFIG)
    gallery.close()
    gallery.close()
    for call in CALLS:
        with pytest.raises(NotReadyError, match="'people' is closed"):
            call(people)
    for refused in (
        lambda: gallery.create("people", CONFIG),
        lambda: gallery.get("people"),
        lambda: gallery.drop("people"),
        gallery.list,
    ):
        with pytest.raises(NotReadyError):
            refused()


def test_many_threads_make_one_collection(tmp_path: Path) -> None:
    made: list[bool] = []
    with Gallery(tmp_path) as gallery:
        threads = [
            threading.Thread(target=lambda: made.append(gallery.create("people", CONFIG)[1]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(made) == [False] * 7 + [True]
