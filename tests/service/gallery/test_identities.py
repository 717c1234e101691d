"""Identities: listed, merged, and erased down to the last byte of any file."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import RequestError
from service.gallery.collection import CollectionConfig, NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from tests.service.gallery.conftest import MakeCollection
from tests.service.gallery.index.galleries import DIMENSION, embeddings

ROWS = 1_500
SECRET = "Ermintrude-the-erased"
JPEG = b"\xff\xd8 a small picture of Ermintrude \xff\xd9"


def people(count: int = ROWS) -> list[NewItem]:
    vectors = embeddings(count, seed=1)
    return [NewItem(f"i{n}", f"p{n % 50}", vector, {}) for n, vector in enumerate(vectors)]


def secrets() -> list[NewItem]:
    return [
        NewItem(f"{SECRET}-{n}", SECRET, vector, {"note": f"{SECRET} was here"}, JPEG)
        for n, vector in enumerate(embeddings(40, seed=2))
    ]


def traces(folder: Path) -> list[str]:
    """Return which files below a folder hold something of the secret items."""
    vectors = embeddings(40, seed=2)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    needles = [SECRET.encode(), JPEG, *(row.tobytes() for row in vectors), *(row.tobytes() for row in unit)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(
        {
            path.name
            for path in files
            if (data := path.read_bytes()) and any(needle in data for needle in needles)
        }
    )


def test_identities_are_listed_by_name_page_by_page(collection: MakeCollection) -> None:
    made = collection(dimension=DIMENSION)
    made.upsert([*people(100), NewItem("x", None, np.ones(DIMENSION, np.float32), {})])
    seen = []
    cursor: str | None = None
    while True:
        page = made.identities(limit=7, cursor=cursor)
        seen += page.identities
        cursor = page.cursor
        if cursor is None:
            break
    assert [(one.name, one.items) for one in seen] == sorted((f"p{n}", 2) for n in range(50))
    one = made.identity("p7")
    assert one is not None
    assert one.first_us <= one.last_us
    assert made.identity("p99") is None
    assert made.identity("a/b") is None


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_merge_gives_all_items_to_another_and_keeps_what_they_are(
    kind: Any, collection: MakeCollection
) -> None:
    made = collection(dimension=DIMENSION, index_type=kind, keep_images=True)
    made.upsert(people())
    made.upsert(secrets())
    made.seal()
    before = made.get(f"{SECRET}-3", with_vector=True)
    assert made.merge(SECRET, "p7").items == 40
    assert made.merge(SECRET, "p7").items == 0
    assert made.merge("p7", "p7").items == 0
    after = made.get(f"{SECRET}-3", with_vector=True)
    assert before is not None
    assert after is not None
    assert after.vector is not None
    assert before.vector is not None
    assert (after.id, after.identity, after.metadata) == (before.id, "p7", before.metadata)
    np.testing.assert_array_equal(after.vector, before.vector)
    assert made.picture(f"{SECRET}-3") == JPEG
    assert made.identity(SECRET) is None
    merged = made.identity("p7")
    assert merged is not None
    assert merged.items == 40 + ROWS // 50
    assert made.stats().items == ROWS + 40
    (found,) = made.search(before.vector[np.newaxis], SearchOptions(k=1))
    assert (found[0].id, found[0].identity, found[0].distance) == (f"{SECRET}-3", "p7", 0.0)
    with pytest.raises(RequestError):
        made.merge("p7", "a/b")
    made.close()
    assert collection().stats().items == ROWS + 40


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_an_erased_identity_is_in_no_file(
    kind: Any, metric: Any, collection: MakeCollection, tmp_path: Path
) -> None:
    made = collection(dimension=DIMENSION, index_type=kind, metric=metric, keep_images=True)
    made.upsert(people(ROWS // 2))
    made.upsert(secrets())
    made.upsert(people())
    made.upsert(secrets())  # once more, so that rows of before are dead
    made.seal()
    assert made._record.checkpoint()
    made.upsert(secrets()[:5])  # and some that are in the log
    assert {"record.sqlite3", "record.sqlite3-wal", "vectors.faiss"} <= set(traces(tmp_path))
    erased = made.erase(SECRET)
    assert (erased.deleted, erased.erased) == (40, True)
    assert traces(tmp_path) == []
    assert made.erase(SECRET).deleted == 0
    assert made.stats().items == ROWS
    exact, found = (
        made.search(embeddings(20, seed=3), SearchOptions(k=5, exact=exact)) for exact in (True, False)
    )
    shared = [len({m.id for m in a} & {m.id for m in b}) for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) >= 0.98 * 5
    made.close()
    assert traces(tmp_path) == []
    assert collection().stats().items == ROWS


def test_what_is_erased_while_it_is_sealed_goes_when_that_is_done(
    collection: MakeCollection, tmp_path: Path
) -> None:
    made = collection(dimension=DIMENSION, index_type="hnsw", keep_images=True)
    made.upsert(people())
    made.upsert(secrets())
    assert made._eraser.sealing.acquire(timeout=1)  # as if it were being sealed
    erased = made.erase(SECRET)
    assert (erased.deleted, erased.erased) == (40, False)
    assert made.stats().erasing
    made._eraser.sealing.release()
    made.seal()
    assert not made.stats().erasing
    assert traces(tmp_path) == []


def test_a_reader_keeps_it_in_the_log_until_the_next_look(collection: MakeCollection, tmp_path: Path) -> None:
    made = collection(dimension=DIMENSION, keep_images=True)
    made.upsert(people())
    made.upsert(secrets())
    reading, read = threading.Event(), threading.Event()

    def read_for_long() -> None:
        with made._record._database.reading() as connection:
            connection.execute("SELECT count(*) FROM items").fetchone()
            reading.set()
            read.wait(30)

    reader = threading.Thread(target=read_for_long)
    reader.start()
    assert reading.wait(10)
    made.upsert(people(10))
    assert not made.erase(SECRET).erased
    assert made.stats().erasing
    read.set()
    reader.join()
    made.seal()
    assert not made.stats().erasing
    assert traces(tmp_path) == []


@pytest.mark.parametrize(
    "at", ["", "made._eraser.wipe = die", "made._record.write_anew = die", "made._home.wipe = die"]
)
def test_what_is_erased_goes_where_the_process_is_killed_at_any_step(at: str, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    config = CollectionConfig(
        dimension=DIMENSION, metric="cosine", index_type="hnsw", keep_images=True, fields={"note": "keyword"}
    )
    EmbeddedCollection.create(folder, config)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.service.gallery.test_identities import SECRET, people, secrets\n"
        "from service.gallery.embedded import EmbeddedCollection\n"
        "made = EmbeddedCollection(Path(sys.argv[1]))\n"
        "made.upsert(people()); made.upsert(secrets()); made.seal()\n"
        "made._record.checkpoint()\n"
        "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{at}\n"
        "made.erase(SECRET)\n"
        "die()\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert killed.returncode == -9
    assert (traces(tmp_path) == []) == (not at)
    again = EmbeddedCollection(folder)
    assert again.stats().items == ROWS
    assert again.erasing == bool(at)
    again.seal()
    assert not again.erasing
    again.close()
    assert traces(tmp_path) == []


@pytest.mark.parametrize("seed", range(3))
def test_ids_at_random_leave_no_copies_in_the_pages_of_an_index(
    seed: int, collection: MakeCollection, tmp_path: Path
) -> None:
    """Where entries of an index move between pages, SQLite leaves copies of them behind."""
    random = np.random.default_rng(seed)
    made = collection(dimension=2)

    def some(count: int, prefix: str, identity: str) -> list[NewItem]:
        names = [f"{random.integers(2**60):x}-{prefix}" for _ in range(count)]
        return [NewItem(name, identity, np.ones(2, np.float32), {}) for name in names]

    for _ in range(4):
        made.upsert(some(4_000, "kept", "kept"))
        made.upsert(some(100, SECRET, SECRET))
    assert made.erase(SECRET).erased
    made.close()
    assert traces(tmp_path) == []


@pytest.mark.parametrize("seed", [3, 6])  # with these it does
def test_deleting_beside_them_leaves_no_copies_in_the_pages_of_the_rows(
    seed: int, collection: MakeCollection, tmp_path: Path
) -> None:
    """Where pages that became empty are joined, SQLite leaves copies of some rows behind."""
    random = np.random.default_rng(seed)
    made = collection(dimension=16)
    needles: list[bytes] = []
    for batch in range(3):
        vectors = random.standard_normal((3_000, 16)).astype(np.float32)
        secret = random.random(3_000) < 0.1
        needles += [vector.tobytes() for vector in vectors[secret]]
        names = [SECRET if one else "kept" for one in secret]
        ids = [f"{batch}-{n}" for n in range(3_000)]
        made.upsert([NewItem(*given, {}) for given in zip(ids, names, vectors, strict=True)])
        dropped = [n for n in range(3_000) if random.random() < 0.9 and not secret[n]]
        made.delete([f"{random.integers(batch + 1)}-{n}" for n in dropped])
    assert made.erase(SECRET).erased
    made.close()
    record = (tmp_path / "people" / "record.sqlite3").read_bytes()
    assert not any(needle in record for needle in needles)


def test_a_snapshot_that_a_kill_left_beside_the_next_is_erased_too(
    collection: MakeCollection, tmp_path: Path
) -> None:
    made = collection(dimension=DIMENSION)
    made.upsert([*people(), *secrets()])
    made.seal()
    (before,) = (tmp_path / "people" / "snapshots").iterdir()
    shutil.copytree(before, aside := tmp_path / "aside")
    made.upsert(people()[:1_200])
    assert made.seal()
    aside.rename(before)  # as if it had been killed before it came to removing it
    made.close()
    again = collection()
    assert again.erase(SECRET).erased
    assert traces(tmp_path) == []
