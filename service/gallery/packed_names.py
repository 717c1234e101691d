"""Names by label in a few bytes each: those of millions of rows fit into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from service.gallery.index.buffers import Integers

__all__ = ["Name", "PackedNames", "joined", "packed"]

Name: TypeAlias = tuple[str, str | None]

_BETWEEN = "\0"  # no name holds one


def _none() -> Integers:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class PackedNames:
    """The ids and identities of rows. Immutable.

    Attributes:
        labels: (N,) ascending.
        ends: (N,) where in the text the names of each end.
        text: all of them, in UTF-8.
    """

    labels: Integers = field(default_factory=_none)
    ends: Integers = field(default_factory=_none)
    text: bytes = b""

    @property
    def last_label(self) -> int:
        """Return the highest label, 0 where there is none."""
        return int(self.labels[-1]) if len(self.labels) else 0

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes they take."""
        return self.labels.nbytes + self.ends.nbytes + len(self.text)

    def find(self, labels: Sequence[int]) -> dict[int, Name]:
        """Return those of some labels that are here."""
        if not len(self.labels):
            return {}
        positions = np.minimum(np.searchsorted(self.labels, labels), len(self.labels) - 1)
        ends = self.ends.take(positions).tolist()
        starts = self.ends.take(positions - 1).tolist()  # of the first it is the last end
        found: dict[int, Name] = {}
        held = self.labels.take(positions).tolist()
        for label, here, position, start, end in zip(
            labels, held, positions.tolist(), starts, ends, strict=True
        ):
            if label == here:
                found[label] = _unpacked(self.text[start if position else 0 : end])
        return found


def joined(parts: Sequence[PackedNames]) -> PackedNames:
    """Return the names of several, whose labels ascend from one to the next."""
    lengths = np.array([len(part.text) for part in parts], np.int64)
    before = np.cumsum(lengths) - lengths
    return PackedNames(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.ends + start for part, start in zip(parts, before.tolist(), strict=True)]),
        b"".join(part.text for part in parts),
    )


def packed(names: Mapping[int, Name]) -> PackedNames:
    """Return names by label, packed."""
    labels = sorted(names)
    texts = [_packed(names[label]) for label in labels]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return PackedNames(np.asarray(labels, np.int64), np.cumsum(lengths), b"".join(texts))


def _packed(name: Name) -> bytes:
    item_id, identity = name
    return (item_id if identity is None else f"{item_id}{_BETWEEN}{identity}").encode()


def _unpacked(text: bytes) -> Name:
    item_id, between, identity = text.decode().partition(_BETWEEN)
    return item_id, identity if between else None
