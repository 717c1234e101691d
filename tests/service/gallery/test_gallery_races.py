"""Collections that are dropped while they are used: nobody meets a fault, at most finds nothing."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.errors import NotFoundError
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
    done: Counter[Callable[[Gallery], None]] = Counter()

    def repeat(work: Callable[[Gallery], None]) -> None:
        while time.monotonic() < end:
            try:
                work(gallery)
                done[work] += 1
            except NotFoundError:
                time.sleep(0.001)  # it was dropped: let others make it again
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
    assert all(done[work] for work in works)
