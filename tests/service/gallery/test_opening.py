"""Collections are opened one after the other beside the answering; the others wait and are told how long."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path

import numpy as np
import pytest

from service.errors import NotFoundError, NotReadyError, OpeningError, StorageError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.gallery import Gallery
from service.gallery.index.accelerator import Stopped, Work
from service.gallery.opening import Opening, Outcome
from tests.service.gallery.slow_disk import SlowSnapshot

CONFIG = CollectionConfig(dimension=2, metric="euclidean", index_type="flat")
ITEMS = [NewItem(str(n), None, np.array([n, 1], np.float32), {}) for n in range(3)]
MANY = 10_000
PATIENCE_S = 30


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    with Gallery(tmp_path) as gallery:
        for name in ("cars", "people", "trees"):
            gallery.create(name, CONFIG)[0].upsert(ITEMS)
    return tmp_path


@pytest.fixture
def opening(data_dir: Path) -> Iterator[tuple[Gallery, "Future[Outcome]"]]:
    """A gallery of which `cars` is open, or about to be, and `people` waits for the disk."""
    opened: Future[Outcome] = Future()
    slow = SlowSnapshot(data_dir, "people")
    with Gallery(data_dir, opened=opened) as gallery, slow:
        wait_for_people(gallery)
        yield gallery, opened


def wait_for_people(gallery: Gallery) -> None:
    """Wait until `people` is being opened."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with pytest.raises(OpeningError) as raised:
            gallery.refuse_while_opening()
        if raised.value.progress["collection"] == "people":
            return
        assert time.monotonic() < deadline


def test_what_is_open_answers_and_what_is_not_says_how_far_that_is(
    opening: tuple[Gallery, "Future[Outcome]"],
) -> None:
    gallery, opened = opening
    found = gallery.get("cars").search(np.array([[2, 1]], np.float32), SearchOptions(k=1))
    assert [match.id for match in found[0]] == ["2"]
    for name in ("people", "trees"):
        for call in (
            lambda name=name: gallery.get(name),
            lambda name=name: gallery.drop(name),
            lambda name=name: gallery.create(name, CONFIG),
        ):
            with pytest.raises(OpeningError, match=f"'{name}' is not open yet: 1 of 3 .*'people' its snap"):
                call()
    with pytest.raises(OpeningError, match="Not all collections are open yet") as raised:
        gallery.list()
    assert raised.value.progress == {
        "opened": 1,
        "collections": 3,
        "collection": "people",
        "rows_read": 0,
        "rows": 0,
    }
    with pytest.raises(NotFoundError, match="Did you mean 'people'"):
        gallery.get("poeple")
    assert not opened.done()


def test_others_are_made_and_dropped_meanwhile(opening: tuple[Gallery, "Future[Outcome]"]) -> None:
    gallery, _ = opening
    made, created = gallery.create("boats", CONFIG)
    assert created
    made.upsert(ITEMS)
    assert [one.id for one in gallery.get("boats").page(limit=5).items] == ["0", "1", "2"]
    assert gallery.drop("cars") == 3
    with pytest.raises(NotFoundError):
        gallery.get("cars")


def test_in_the_end_all_are_open(data_dir: Path) -> None:
    opened: Future[Outcome] = Future()
    slow = SlowSnapshot(data_dir, "people")
    with Gallery(data_dir, opened=opened) as gallery:
        slow.let_go()
        assert opened.result(PATIENCE_S) == Outcome(3)
        gallery.refuse_while_opening()
        assert [one.stats().items for one in gallery.list()] == [3, 3, 3]


def test_closing_it_meanwhile_ends_the_opening(data_dir: Path) -> None:
    opened: Future[Outcome] = Future()
    slow = SlowSnapshot(data_dir, "people")
    gallery = Gallery(data_dir, opened=opened)
    with slow:
        wait_for_people(gallery)
        assert not opened.done()
        closing = threading.Thread(target=gallery.close)
        closing.start()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    with pytest.raises(CancelledError):
        opened.result(0)
    with pytest.raises(NotReadyError, match="closed"):
        gallery.get("trees")
    with Gallery(data_dir) as gallery:  # the lock is free
        assert gallery.get("trees").stats().items == 3


def test_one_that_is_damaged_is_told_of(data_dir: Path) -> None:
    record = data_dir / "collections" / "people" / "record.sqlite3"
    record.write_bytes(b"\0" * record.stat().st_size)
    opened: Future[Outcome] = Future()
    with Gallery(data_dir, opened=opened) as gallery:
        assert opened.result(PATIENCE_S) == Outcome(2, ("people",))
        assert gallery.get("cars").stats().items == gallery.get("trees").stats().items == 3
        for use in (gallery.get, lambda name: gallery.create(name, CONFIG)):
            with pytest.raises(StorageError, match=r"people/record\.sqlite3.*backup"):
                use("people")
        assert list(gallery.unopened()) == ["people"]


def filled(folder: Path, *, sealed: bool) -> Path:
    folder.mkdir()
    EmbeddedCollection.create(folder, CONFIG)
    collection = EmbeddedCollection(folder)
    rows = np.random.default_rng(0).standard_normal((MANY, 2)).astype(np.float32)
    collection.upsert([NewItem(str(n), None, row, {}) for n, row in enumerate(rows)])
    assert not sealed or collection.seal()
    collection.upsert(ITEMS[:2])
    collection.close()
    return folder


@pytest.mark.parametrize(("sealed", "read"), [(False, MANY), (True, 2)])
def test_the_rows_that_the_snapshot_has_not_are_counted(tmp_path: Path, *, sealed: bool, read: int) -> None:
    folder, seen = filled(tmp_path / "many", sealed=sealed), []
    work = Work(1, threading.Event(), lambda done, total: seen.append((done, total)))
    EmbeddedCollection(folder, work=work).close()
    assert {total for _, total in seen} == {read}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (read, read)


def test_it_is_stopped_between_rows_and_between_blocks_and_loses_nothing(tmp_path: Path) -> None:
    folder = filled(tmp_path / "many", sealed=True)
    (snapshot,) = (folder / "snapshots").iterdir()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        EmbeddedCollection(folder, work=Work(1, stop, lambda done, total: pytest.fail("it reads on")))
    assert snapshot.is_dir()
    stop.clear()
    with pytest.raises(Stopped):
        EmbeddedCollection(filled(tmp_path / "again", sealed=False), work=stopping(stop))
    collection = EmbeddedCollection(folder)
    assert collection.stats().items == MANY
    collection.close()


def stopping(stop: threading.Event) -> Work:
    def told_once(done: int, total: int) -> None:
        assert not stop.is_set()
        assert done < total
        stop.set()

    return Work(1, stop, told_once)


def test_the_log_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def open_one(name: str, work: Work) -> int:
        work.told(1_000, 3_000)
        return 3_000

    caplog.set_level(logging.INFO)
    seldom, often = Opening(open_one, threads=1), Opening(open_one, threads=1, told_every_s=0)
    for each in (seldom, often):
        each.expect(["a", "b"])
        assert "a" in each
        each.run()
        assert each.waiting == []
    opening = [record.getMessage() for record in caplog.records if "opening" in record.getMessage()]
    assert opening == [
        "opening: 0 of 2 collections are open, and of 'a' 1,000 of 3,000 rows are read",
        "opening: 1 of 2 collections are open, and of 'b' 1,000 of 3,000 rows are read",
    ]


def test_a_fault_of_ours_is_not_repeated_to_clients(caplog: pytest.LogCaptureFixture) -> None:
    def open_one(name: str, work: Work) -> int:
        raise RuntimeError("secret")

    opening, outcome = Opening(open_one, threads=1), Future[Outcome]()
    opening.expect(["a"])
    opening.start(outcome)
    with pytest.raises(RuntimeError):
        outcome.result(PATIENCE_S)
    assert "secret" not in str(opening.refusal("a"))
    assert "secret" in caplog.text
