"""A process to be killed: it writes batches for ever and prints each one's number once acknowledged."""

import sys
from pathlib import Path

import numpy as np

from service.gallery.collection import NewItem
from service.gallery.embedded import EmbeddedCollection


def main(folder: Path, first: int) -> None:
    collection = EmbeddedCollection(folder)
    print("ready", flush=True)  # noqa: T201 - what the test reads
    number = first
    while True:
        vector = np.array([number, 1], np.float32)
        items = [NewItem(f"{number}-{i}", f"batch{number}", vector, {"number": number}) for i in range(5)]
        collection.upsert([*items, NewItem("newest", None, vector, {"number": number})])
        print(number, flush=True)  # noqa: T201
        number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
