"""What is done to a record in a commit: each an operation, and the change of it."""

from collections.abc import Collection, Sequence

import numpy as np

from service.gallery.collection import CollectionConfig
from service.gallery.commits import Change, Operation
from service.gallery.erasing import Eraser
from service.gallery.filters import Filter, OneOf
from service.gallery.record_writer import RecordWriter
from service.gallery.schema import Row

__all__ = ["deletion", "deletion_where", "erasure", "merge", "replacement"]


def replacement(rows: Sequence[Row]) -> Operation:
    """Return what writes rows in place of those that have their ids."""
    vectors = np.stack([row.vector for row in rows])

    def replace(writer: RecordWriter) -> Change:
        replaced = writer.replace(rows)
        return Change(list(replaced.before.values()), replaced.labels, vectors, frozenset(replaced.before))

    return replace


def deletion(ids: Collection[str]) -> Operation:
    """Return what deletes the rows of some ids, damaged ones too."""
    return lambda writer: Change(writer.delete(ids), forgotten=writer.forget(ids=ids))


def deletion_where(condition: Filter) -> Operation:
    """Return what deletes the rows that pass."""
    return lambda writer: Change(writer.delete_where(condition))


def erasure(name: str, eraser: Eraser) -> Operation:
    """Return what deletes the rows of an identity, and notes that the files are to hold nothing of them."""

    def erase(writer: RecordWriter) -> Change:
        labels = writer.delete_where(OneOf("identity", (name,)))
        change = Change(labels, forgotten=writer.forget(identity=name))
        if change.deleted:
            eraser.begin(writer)
        return change

    return erase


def merge(name: str, into: str, config: CollectionConfig) -> Operation:
    """Return what gives the rows of an identity to another."""

    def move(writer: RecordWriter) -> Change:
        moved = writer.move(name, into, config)
        return Change(moved.before, moved.labels, moved.vectors)

    return move
