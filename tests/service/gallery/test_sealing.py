"""A collection that seals, and is opened again."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import CollectionDroppedError, StorageError
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


def items(first: int, count: int, *, seed: int = 1) -> list[NewItem]:
    vectors = embeddings(count, seed=seed)
    return [NewItem(f"i{first + n}", f"p{n % 7}", vector, {}) for n, vector in enumerate(vectors)]


def answers(collection: EmbeddedCollection) -> Any:
    queries = embeddings(10, seed=9)
    return [
        [(match.id, match.distance) for match in found]
        for found in collection.search(queries, SearchOptions(k=20, max_distance=1e9))
    ]


@pytest.mark.parametrize("kind", ["auto", "flat", "hnsw", "ivf"])
def test_answers_are_the_same_sealed_and_opened_again(kind: Any, collection: MakeCollection) -> None:
    people = collection(dimension=DIMENSION, index_type=kind)
    people.upsert(items(0, ROWS))
    before = answers(people)
    assert people.stats().index.state == ("building" if kind in ("hnsw", "ivf") else "ready")  # it is due
    assert people.seal()
    assert people.stats().index.state == "ready"
    assert not people.seal()
    assert answers(people) == before
    assert people.stats().index.pending == 0
    people.delete(["i3", "i4"])
    people.upsert([*items(10, 5, seed=4), *items(ROWS, 50, seed=5)])
    changed = answers(people)
    people.close()
    again = collection()
    assert answers(again) == changed
    stats = again.stats()
    assert (stats.items, stats.index.pending, stats.index.sealed) == (ROWS + 48, 55, ROWS)


@pytest.mark.parametrize("damage", ["removed", "flipped"])
def test_a_damaged_snapshot_is_made_anew_from_the_record(damage: str, collection: MakeCollection) -> None:
    people = collection(dimension=DIMENSION, index_type="hnsw")
    people.upsert(items(0, ROWS))
    people.seal()
    before = answers(people)
    people.close()
    (vectors,) = (Path(people._folder) / "snapshots").glob("*/vectors.faiss")
    if damage == "removed":
        vectors.unlink()
    else:
        data = bytearray(vectors.read_bytes())
        data[len(data) // 2] ^= 4
        vectors.write_bytes(data)
    again = collection()
    assert answers(again) == before
    assert again.stats().index.pending == ROWS
    assert again.seal()
    assert answers(again) == before


def test_a_snapshot_of_another_record_is_not_believed(collection: MakeCollection, tmp_path: Path) -> None:
    people, others = collection("people", dimension=DIMENSION), collection("others", dimension=DIMENSION)
    people.upsert(items(0, ROWS))
    others.upsert(items(0, ROWS, seed=7)[: ROWS - 300])
    others.upsert(items(0, 200))
    assert people.seal()
    assert others.seal()
    people.close()
    others.close()
    (tmp_path / "people" / "snapshots").rename(tmp_path / "aside")
    (tmp_path / "others" / "snapshots").rename(tmp_path / "people" / "snapshots")
    assert collection("people").stats().items == ROWS


def test_writes_and_searches_go_on_while_it_seals(collection: MakeCollection) -> None:
    people = collection(dimension=DIMENSION, index_type="hnsw")
    people.upsert(items(0, ROWS))
    wrong: list[str] = []
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            vector = np.full(DIMENSION, 1_000.0 + number, np.float32)
            people.upsert([NewItem("moving", None, vector, {})])
            (found,) = people.search(vector[np.newaxis], SearchOptions(k=1))
            if (found[0].id, found[0].distance) != ("moving", 0.0):
                wrong.append(f"{number}: {found}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    for round_ in range(3):
        people.upsert(items(ROWS * (round_ + 1), ROWS, seed=round_))
        people.seal(idle=True)
    done.set()
    writer.join()
    assert wrong == []
    assert people.stats().items == ROWS * 4 + 1


def test_a_disk_that_refuses_leaves_all_as_it_was(tmp_path: Path) -> None:
    refusing = False

    def sync(folder: Path) -> None:
        if refusing:
            raise OSError(28, "No space left on device")

    folder = tmp_path / "people"
    folder.mkdir()
    EmbeddedCollection.create(
        folder, CollectionConfig(dimension=DIMENSION, metric="cosine", index_type="hnsw")
    )
    people = EmbeddedCollection(folder, sync=sync)
    people.upsert(items(0, ROWS))
    before = answers(people)
    refusing = True
    with pytest.raises(StorageError, match="No space"):
        people.seal()
    assert answers(people) == before
    assert "No space" in (people.stats().index.problem or "")
    refusing = False
    assert people.seal()
    assert people.stats().index.problem is None
    people.close()


def test_a_build_is_stopped_within_a_moment(collection: MakeCollection) -> None:
    people = collection(dimension=DIMENSION, index_type="hnsw")
    people.upsert(items(0, ROWS))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        people.seal(stop=stop)
    assert people.stats().index.progress is None


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_where_nothing_is_left_there_is_nothing_to_seal(kind: Any, collection: MakeCollection) -> None:
    people = collection(dimension=DIMENSION, index_type=kind)
    people.upsert(items(0, ROWS))
    assert people.seal()
    people.delete([f"i{n}" for n in range(ROWS)])
    assert not people.seal(idle=True)
    people.upsert(items(0, 3))
    assert people.seal(idle=True)
    (found,) = people.search(embeddings(1, seed=9), SearchOptions(k=5))
    assert {match.id for match in found} == {"i0", "i1", "i2"}


def test_a_gallery_seals_what_is_written_by_itself(tmp_path: Path) -> None:
    with Gallery(tmp_path) as gallery:
        config = CollectionConfig(dimension=DIMENSION, metric="cosine", index_type="hnsw")
        people, _ = gallery.create("people", config)
        people.upsert(items(0, ROWS))
        waiting = threading.Event()
        while people.stats().index.sealed < ROWS:
            waiting.wait(0.02)
        index = people.stats().index
        assert (index.chosen, index.pending, index.type) == ("hnsw", 0, "hnsw")
        assert index.parameters["m"] == 32
        assert index.parameters["ef_search"] >= 10
    with Gallery(tmp_path) as gallery:
        assert gallery.get("people").stats().index.sealed == ROWS


def test_a_dropped_collection_does_not_come_back_by_being_sealed(tmp_path: Path) -> None:
    with Gallery(tmp_path) as gallery:
        people, _ = gallery.create("people", CollectionConfig(dimension=DIMENSION, metric="cosine"))
        assert isinstance(people, EmbeddedCollection)
        people.upsert(items(0, ROWS))
        gallery.drop("people")
        with pytest.raises(CollectionDroppedError):
            people.seal(idle=True)
        with pytest.raises(OSError, match="No such file"):
            people._home._snapshots.new_folder()
        assert not (tmp_path / "collections" / "people").exists()
    Gallery(tmp_path).close()


def test_much_that_is_new_is_crowded_where_it_is_searched_until_it_is_sealed(tmp_path: Path) -> None:
    EmbeddedCollection.create(tmp_path, CollectionConfig(DIMENSION, "cosine", index_type="hnsw"))
    collection = EmbeddedCollection(tmp_path, sizes=Sizes(scanned_bytes=10_000))
    collection.upsert(items(0, ROWS))
    collection._sealer.rest = Rest()
    assert not collection.crowded()
    answers(collection)
    assert not collection.crowded()  # a probe may have looked
    answers(collection)
    assert collection.crowded()
    assert collection.seal()
    answers(collection)
    assert not collection.crowded()
    collection.close()
