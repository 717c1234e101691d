"""What is new is made fast while a collection is searched, beside everything else that goes on."""

import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from service.errors import NotReadyError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.gallery import Gallery
from service.gallery.index.accelerator import Stopped
from service.gallery.index.sizes import Sizes
from service.gallery.pauses import Rest
from tests.service.gallery.conftest import MakeCollection
from tests.service.gallery.index.galleries import DIMENSION, embeddings

ROWS = 1_500
PATIENCE_S = 60
PLAIN = SearchOptions(k=10, with_metadata=False)
QUERIES = embeddings(300, seed=9)


def items(first: int, count: int, *, seed: int = 1) -> list[NewItem]:
    vectors = embeddings(count, seed=seed)
    return [NewItem(f"i{first + n}", f"p{n % 7}", vector, {}) for n, vector in enumerate(vectors)]


def answers(collection: EmbeddedCollection) -> Any:
    """Return all that is found, exactly."""
    return [
        [(match.id, match.distance) for match in found]
        for found in collection.search(QUERIES, SearchOptions(k=20, max_distance=1e9))
    ]


def nearest(collection: EmbeddedCollection, *, exact: bool = False) -> list[list[float]]:
    """Return how far the nearest are, which are searched for as usual."""
    options = SearchOptions(k=10, with_metadata=False, exact=exact)
    return [[match.distance for match in found] for found in collection.search(QUERIES, options)]


def missed(collection: EmbeddedCollection) -> float:
    """Return which share of the nearest is not found."""
    pairs = zip(nearest(collection), nearest(collection, exact=True), strict=True)
    return float(np.mean([np.sum(np.array(found) > wanted[-1] + 1e-9) / 10 for found, wanted in pairs]))


def searched(collection: EmbeddedCollection) -> Any:
    """Return answers, after which it was searched lately."""
    answers(collection)
    return answers(collection)


def begun(folder: Path, new: int) -> EmbeddedCollection:
    """Return a collection with a snapshot and some that are newer, which was searched lately."""
    EmbeddedCollection.create(folder, CollectionConfig(DIMENSION, "cosine", index_type="hnsw"))
    collection = EmbeddedCollection(folder, sizes=Sizes(scanned_bytes=100_000, sealed_rows=400))
    collection.upsert(items(0, ROWS))
    collection.seal()
    collection.upsert(items(ROWS, new, seed=2))
    searched(collection)
    return collection


def test_what_is_new_is_made_fast_where_it_is_searched(tmp_path: Path) -> None:
    EmbeddedCollection.create(tmp_path, CollectionConfig(DIMENSION, "cosine", index_type="hnsw"))
    collection = EmbeddedCollection(tmp_path, sizes=Sizes(scanned_bytes=100_000))
    collection.upsert(items(0, ROWS))
    searched(collection)
    assert not collection.catch_up()  # there is no snapshot that it would be beside
    assert collection.seal()
    collection.upsert(items(ROWS, 400, seed=2))
    before = searched(collection)
    collection._sealer.rest = Rest()
    assert collection.crowded()
    assert collection.catch_up()
    assert not collection.crowded()
    assert not collection.catch_up()
    assert answers(collection) == before
    assert missed(collection) <= 0.02
    collection.upsert(items(ROWS + 400, 300, seed=3))
    collection.delete([f"i{n}" for n in range(ROWS + 380, ROWS + 420)])
    before = searched(collection)
    assert collection.catch_up()
    assert searched(collection) == before
    assert missed(collection) <= 0.02
    stats = collection.stats()
    assert (stats.items, stats.index.pending, stats.index.sealed) == (ROWS + 660, 660, ROWS)
    collection.close()
    collection = EmbeddedCollection(tmp_path, sizes=Sizes(sealed_rows=100))
    assert answers(collection) == before
    assert collection.seal(idle=True)
    assert answers(collection) == before
    assert collection.stats().index.pending == 0
    collection.close()


def test_a_write_rests_only_where_there_are_searches(collection: MakeCollection) -> None:
    people, now = collection(dimension=DIMENSION), [0.0]
    people.upsert(items(0, ROWS))
    people._sealer.rest = Rest(lambda: now[0], working=lambda: now[0])
    with people._sealer.rest.after(500):
        now[0] = 1.0
    assert not people.crowded()
    searched(people)
    assert people.crowded()
    now[0] = 4.1
    assert not people.crowded()


def test_catching_up_is_stopped_within_a_moment_and_refused_where_it_is_closed(tmp_path: Path) -> None:
    collection = begun(tmp_path, 400)
    before, stop = answers(collection), threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        collection.catch_up(stop)
    assert answers(collection) == before
    collection.close()
    with pytest.raises(NotReadyError):
        collection.catch_up()


def test_a_gallery_catches_up_by_itself_while_it_is_searched(tmp_path: Path) -> None:
    with Gallery(tmp_path, sizes=Sizes(scanned_bytes=100_000)) as gallery:
        config = CollectionConfig(DIMENSION, "cosine", index_type="hnsw")
        people = cast("EmbeddedCollection", gallery.create("people", config)[0])
        people.upsert(items(0, ROWS))
        until = time.monotonic() + PATIENCE_S
        while not people._index.sealed and time.monotonic() < until:
            time.sleep(0.01)
        number = ROWS
        while not people._index.recent and time.monotonic() < until:
            searched(people)
            people.upsert(items(number, 40, seed=number))
            number += 40
        assert people._index.recent
        assert people.stats().items == number


def test_erasing_leaves_what_is_fast_so(tmp_path: Path) -> None:
    collection = begun(tmp_path, 700)
    assert collection.catch_up()
    assert collection.erase("p3").erased
    assert not collection.catch_up()
    assert missed(collection) <= 0.02
    names = {match.identity for found in collection.search(QUERIES, PLAIN) for match in found}
    assert names == {f"p{n}" for n in range(7)} - {"p3"}
    collection.close()


def test_what_a_snapshot_took_meanwhile_is_not_there_twice(tmp_path: Path) -> None:
    collection = begun(tmp_path, 400)

    class SealedMeanwhile(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert collection.seal(idle=True)
            return self.is_set()

    assert not collection.catch_up(SealedMeanwhile())
    assert collection._index.recent is None
    (found,) = collection.search(QUERIES[:1], SearchOptions(k=2 * ROWS))
    assert len(found) == collection.stats().items == ROWS + 400
    collection.close()


class Beside:
    """Threads that search a collection, make it fast and seal it, until the block is left."""

    def __init__(self, collection: EmbeddedCollection) -> None:
        self._collection = collection
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._search, self._catch_up, self._seal)]
        self.wrong: list[list[str]] = []
        self.caught_up = 0

    def __enter__(self) -> "Beside":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _search(self) -> None:
        while not self._over.is_set():
            for found in self._collection.search(QUERIES[:4], PLAIN):
                ids = [match.id for match in found]
                if len(set(ids)) != 10:
                    self.wrong.append(ids)

    def _catch_up(self) -> None:
        while not self._over.is_set():
            self.caught_up += self._collection.catch_up()

    def _seal(self) -> None:
        while not self._over.wait(0.2):
            self._collection.seal(idle=True)


def write_and_erase(collection: EmbeddedCollection, turn: int) -> set[str]:
    """Write 60 new items, 5 that are there, and 5 that are erased; return the ids of the first two."""
    new = [*items(ROWS + 60 * turn, 60, seed=turn + 10), *items(turn * 30, 5, seed=turn + 90)]
    collection.upsert(new)
    if turn % 10 == 9:
        here = np.full(DIMENSION, 9.0, np.float32)
        collection.upsert([NewItem(f"mine{number}", "mine", here, {}) for number in range(5)])
        assert collection.erase("mine").deleted == 5
    return {str(one.id) for one in new}


def test_all_at_the_same_time_come_to_what_was_written(tmp_path: Path) -> None:
    EmbeddedCollection.create(tmp_path, CollectionConfig(DIMENSION, "euclidean", index_type="hnsw"))
    sizes = Sizes(scanned_bytes=100_000, sealed_rows=300)
    collection = EmbeddedCollection(tmp_path, sizes=sizes)
    collection.upsert(items(0, ROWS))
    collection.seal()
    held, turn, until = {f"i{n}" for n in range(ROWS)}, 0, time.monotonic() + PATIENCE_S
    with Beside(collection) as beside:
        while (turn < 40 or beside.caught_up < 5) and time.monotonic() < until:
            held |= write_and_erase(collection, turn)
            turn += 1
    assert beside.wrong == []
    assert beside.caught_up >= 5
    for again in (False, True):
        if again:
            collection.close()
            collection = EmbeddedCollection(tmp_path, sizes=sizes)
        assert {item.id for item in collection.draw(10**6, seed=1)} == held
        (found,) = collection.search(QUERIES[:1], SearchOptions(k=len(held) + 9))
        assert sorted(match.id for match in found) == sorted(held)
        assert missed(collection) <= 0.02
    collection.close()
