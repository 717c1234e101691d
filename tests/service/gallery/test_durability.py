"""What was acknowledged survives the process that wrote it; `make verify-kill` kills it a hundred times."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.gallery.collection import CollectionConfig, SearchOptions, StoredItem
from service.gallery.embedded import EmbeddedCollection
from tests.service.gallery.writing_process import DIMENSION, ITEMS, SLOTS, deletes, vectors_of

WRITER = Path(__file__).with_name("writing_process.py")
ROUNDS = int(os.environ.get("KILL_ROUNDS", "6"))


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_every_acknowledged_write_survives_being_killed(kind: Any, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    config = CollectionConfig(
        dimension=DIMENSION, metric="euclidean", index_type=kind, fields={"slot": "integer"}
    )
    EmbeddedCollection.create(folder, config)
    moments = random.Random(0)
    last: dict[int, int] = {}  # of each slot, the last write that it has
    first = 1
    for _ in range(ROUNDS):
        acknowledged = acknowledged_until_killed(folder, first, moments.uniform(0.02, 0.4))
        last |= {number % SLOTS: number for number in acknowledged}
        underway = acknowledged[-1] + 1 if acknowledged else first
        collection = EmbeddedCollection(folder)
        try:
            if slot_of(collection, underway % SLOTS, underway):
                last[underway % SLOTS] = underway
            assert_holds(collection, last)
        finally:
            collection.close()
        first = underway + 1
    assert len(last) >= ROUNDS


def acknowledged_until_killed(folder: Path, first: int, after_s: float) -> list[int]:
    command = [sys.executable, str(WRITER), str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        first_line = process.stdout.readline()  # however slow the machine is
        threading.Timer(after_s, process.kill).start()
        return [int(line) for line in (first_line, *process.stdout) if line.endswith("\n")]


def slot_of(collection: EmbeddedCollection, slot: int, number: int) -> bool:
    """Return whether a slot is as a write leaves it."""
    items = [collection.get(f"{slot}-{place}") for place in range(ITEMS)]
    if deletes(number):
        return items == [None] * ITEMS
    return all(item is not None and item.metadata["number"] == number for item in items)


def assert_holds(collection: EmbeddedCollection, last: Mapping[int, int]) -> None:
    """Check that a collection holds what the last write of each slot wrote, whole, and nothing else."""
    wanted = {
        f"{slot}-{place}": (number, vector)
        for slot, number in last.items()
        if not deletes(number)
        for place, vector in enumerate(vectors_of(number))
    }
    held = {item.id: item for item in all_items(collection)}
    assert held.keys() == wanted.keys()
    assert collection.stats().items == len(wanted)
    assert all(held[item_id].metadata["number"] == number for item_id, (number, _) in wanted.items())
    queries = np.array([vector for _, vector in wanted.values()]).reshape(-1, DIMENSION)
    for exact in (False, True):
        found = collection.search(queries, SearchOptions(k=1, exact=exact))
        assert [(match.id, match.distance) for (match,) in found] == [(item_id, 0.0) for item_id in wanted]


def all_items(collection: EmbeddedCollection) -> list[StoredItem]:
    items: list[StoredItem] = []
    cursor: str | None = None
    while True:
        page = collection.page(limit=1000, cursor=cursor)
        items += page.items
        cursor = page.cursor
        if cursor is None:
            return items
