"""A process to be killed: it writes and seals for ever, and prints each write's number once acknowledged.

Write n is about slot n % SLOTS: every seventh deletes its items, any other writes all of them anew.
"""

import contextlib
import sys
import threading
from itertools import count
from pathlib import Path

import numpy as np

from service.errors import NotReadyError
from service.gallery.collection import NewItem, Vectors
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter

__all__ = ["DIMENSION", "ITEMS", "SLOTS", "deletes", "vectors_of"]

SLOTS, ITEMS, DIMENSION = 60, 40, 8
_EVERY = 7


def deletes(number: int) -> bool:
    """Return whether a write deletes."""
    return number % _EVERY == 0


def vectors_of(number: int) -> Vectors:
    """Return (ITEMS, DIMENSION) what a write writes."""
    return np.random.default_rng(number).standard_normal((ITEMS, DIMENSION)).astype(np.float32)


def write(collection: EmbeddedCollection, number: int) -> None:
    slot = number % SLOTS
    if deletes(number):
        collection.delete_where(parse_filter({"slot": slot}))
        return
    fields = {"slot": slot, "number": number}
    collection.upsert(
        [
            NewItem(f"{slot}-{place}", f"person{slot}", vector, fields)
            for place, vector in enumerate(vectors_of(number))
        ]
    )


def main(folder: Path, first: int) -> None:
    collection = EmbeddedCollection(folder)

    def seal() -> None:
        with contextlib.suppress(NotReadyError):
            while True:
                collection.seal(idle=True)

    threading.Thread(target=seal, daemon=True).start()
    print("ready", flush=True)  # noqa: T201 - what the test reads
    for number in count(first):
        write(collection, number)
        print(number, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
