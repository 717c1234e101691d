"""What is done to a record in a commit: each an operation, and the change of it."""

from collections.abc import Callable, Collection, Sequence

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

    def delete(writer: RecordWriter) -> list[int]:
        writer.forget(ids=ids)
        return writer.delete(ids)

    return lambda writer: _deleted(writer, delete)


def deletion_where(condition: Filter) -> Operation:
    """Return what deletes the rows that pass."""
    return lambda writer: _deleted(writer, lambda writer: writer.delete_where(condition))


def erasure(name: str, eraser: Eraser) -> Operation:
    """Return what deletes the rows of an identity, and notes that the files are to hold nothing of them."""

    def delete(writer: RecordWriter) -> list[int]:
        writer.forget(identity=name)
        return writer.delete_where(OneOf("identity", (name,)))

    def erase(writer: RecordWriter) -> Change:
        change = _deleted(writer, delete)
        if change.deleted:
            eraser.begin(writer)
        return change

    return erase


def _deleted(writer: RecordWriter, delete: Callable[[RecordWriter], list[int]]) -> Change:
    """Return the change of a deletion, with how many damaged rows it did away with."""
    before = len(writer.forgotten)
    labels = delete(writer)
    return Change(labels, forgotten=len(writer.forgotten) - before)


def merge(name: str, into: str, config: CollectionConfig) -> Operation:
    """Return what gives the rows of an identity to another, damaged ones in name alone."""

    def move(writer: RecordWriter) -> Change:
        moved = writer.move(name, into, config)
        return Change(moved.before, moved.labels, moved.vectors, damaged=moved.damaged)

    return move
