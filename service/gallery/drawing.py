"""Items at random."""

import numpy as np

from service.gallery.collection import StoredItem
from service.gallery.index.segments import Index
from service.gallery.store import Record

__all__ = ["drawn"]


def drawn(record: Record, index: Index, count: int, *, seed: int) -> list[StoredItem]:
    """Return up to `count` items of an index, with their vectors; the same seed gives the same."""
    living = index.living()
    labels = np.random.default_rng(seed).choice(living, min(count, len(living)), replace=False).tolist()
    items = record.items(labels, with_vector=True)
    return [items[label] for label in labels if label in items]
