"""A process whose disk is full: no file may grow beyond some size, until it may again.

It prints what happened as JSON: how many items were acknowledged before, what was refused, and what is there
while the disk is full, after it has room again, and after it was opened again.
"""

import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np

from service.errors import StorageError
from service.gallery.collection import NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection

_LIMIT_BYTES, _NEXT_TO_NOTHING = 1_500_000, 20_000
_MOST = 200


def batch(number: int) -> list[NewItem]:
    rows = np.random.default_rng(number).standard_normal((50, 16)).astype(np.float32)
    return [NewItem(f"{number}-{place}", None, row, {}) for place, row in enumerate(rows)]


def held(collection: EmbeddedCollection, acknowledged: int) -> bool:
    """Return whether exactly the batches that were acknowledged are there, whole and searchable."""
    wanted = [item for number in range(acknowledged) for item in batch(number)]
    found = collection.search(np.stack([item.vector for item in wanted]), SearchOptions(k=1))
    found_ids = [match.id for (match,) in found]
    return found_ids == [item.id for item in wanted] and collection.stats().items == len(wanted)


def main(folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    collection = EmbeddedCollection(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT_BYTES, hard))
    told: dict[str, object] = {"refused": "", "sealing": ""}
    acknowledged = 0
    while acknowledged < _MOST and not told["refused"]:
        try:
            collection.upsert(batch(acknowledged))
            acknowledged += 1
        except StorageError as error:
            told["refused"] = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_NEXT_TO_NOTHING, hard))
    try:
        collection.seal()
    except StorageError as error:
        told["sealing"] = str(error)
    told["while full"] = held(collection, acknowledged)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    collection.upsert(batch(acknowledged))
    collection.seal()
    told["with room again"] = held(collection, acknowledged + 1)
    collection.close()
    collection = EmbeddedCollection(folder)
    told["opened again"] = held(collection, acknowledged + 1)
    print(json.dumps({**told, "acknowledged": acknowledged}))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]))
