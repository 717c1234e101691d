"""Collections that are dropped while they are used: who comes too late finds nothing, nobody meets a fault."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.errors import CollectionDroppedError, NotFoundError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.filters import parse_filter
from service.gallery.gallery import Gallery

CONFIG = CollectionConfig(dimension=2, metric="cosine")
ITEMS = [NewItem(str(i), None, np.array([1, 2], np.float32), {}) for i in range(20)]
QUERY = np.ones((1, 2), np.float32)
SECONDS = 2


def enrol(gallery: Gallery) -> None:
    gallery.create("people", CONFIG)[0].upsert(ITEMS)


def drop(gallery: Gallery) -> None:
    assert gallery.drop("people") in (0, len(ITEMS))


def describe(gallery: Gallery) -> None:
    for collection in gallery.list():
        collection.stats()


def search(gallery: Gallery) -> None:
    everyone = SearchOptions(k=30, filter=parse_filter({"id": {"exists": True}}), with_metadata=True)
    (matches,) = gallery.get("people").search(QUERY, everyone)
    assert len(matches) in (0, len(ITEMS))


def read(gallery: Gallery) -> None:
    gallery.get("people").page(limit=3)
    gallery.get("people").get("1", with_vector=True)


def test_collections_are_dropped_while_they_are_used(tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS
    faults: list[Exception] = []
    too_late: list[NotFoundError] = []

    def repeat(work: Callable[[Gallery], None]) -> None:
        while time.monotonic() < end:
            try:
                work(gallery)
            except NotFoundError as error:
                too_late.append(error)
            except Exception as error:
                faults.append(error)
                return

    with Gallery(tmp_path) as gallery:
        works = (enrol, enrol, drop, describe, describe, search, search, read)
        threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []
    assert any(isinstance(error, CollectionDroppedError) for error in too_late)
