"""Items at random."""

import numpy as np

from service.gallery.collection import StoredItem
from service.gallery.label_reads import Labels
from service.gallery.store import Record

__all__ = ["drawn"]


def drawn(record: Record, living: Labels, count: int, *, seed: int) -> list[StoredItem]:
    """Return up to `count` of the living items, with their vectors; the same seed gives the same."""
    labels = np.random.default_rng(seed).choice(living, min(count, len(living)), replace=False).tolist()
    items = record.items(labels, with_vector=True)
    return [items[label] for label in labels if label in items]
