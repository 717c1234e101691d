"""What was acknowledged survives the process that wrote it."""

import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from service.gallery.collection import CollectionConfig, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter

WRITER = Path(__file__).with_name("writing_process.py")
ROUNDS = 6


def test_every_acknowledged_item_survives_being_killed(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    EmbeddedCollection.create(folder, CollectionConfig(dimension=2, metric="euclidean"))
    acknowledged: list[int] = []
    moments = random.Random(0)
    for round_ in range(ROUNDS):
        after_s = moments.uniform(0.02, 0.25)
        acknowledged += acknowledged_until_killed(folder, round_ * 1_000_000, after_s)
        collection = EmbeddedCollection(folder)
        try:
            assert_whole(collection, acknowledged)
        finally:
            collection.close()
    assert len(acknowledged) > ROUNDS


def acknowledged_until_killed(folder: Path, first: int, after_s: float) -> list[int]:
    command = [sys.executable, str(WRITER), str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        threading.Timer(after_s, process.kill).start()
        return [int(line) for line in process.stdout if line.endswith("\n")]


def assert_whole(collection: EmbeddedCollection, acknowledged: list[int]) -> None:
    items = []
    cursor: str | None = None
    while True:
        page = collection.page(limit=1000, cursor=cursor)
        items += page.items
        cursor = page.cursor
        if cursor is None:
            break
    by_batch: dict[int, set[str]] = {}
    for item in items:
        if item.id != "newest":
            by_batch.setdefault(item.metadata["number"], set()).add(item.id)
    for number in acknowledged:
        assert number in by_batch, f"batch {number} was acknowledged and is lost"
    for number, ids in by_batch.items():
        assert ids == {f"{number}-{i}" for i in range(5)}, f"batch {number} is there by halves"
    (newest,) = [item for item in items if item.id == "newest"]
    assert newest.metadata["number"] == max(by_batch)
    last = acknowledged[-1]
    options = SearchOptions(k=5, filter=parse_filter({"identity": f"batch{last}"}))
    (matches,) = collection.search(np.array([[last, 1]], np.float32), options)
    assert [match.distance for match in matches] == [0.0] * 5
