"""Rows that lie in a file, with what makes them fast, and what is remembered of the last filter."""

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.accelerator import Accelerator, Bits
from service.gallery.index.buffers import Integers
from service.gallery.index.flat import FlatIndex, Mask
from service.gallery.index.hits import Hits
from service.gallery.index.scanning import Some

__all__ = ["Sealed"]

_SHARE_SCANNED = 0.1  # k beyond this share of the rows is faster found by a scan
_MOST_COPIED_BYTES = 64 * 2**20

_Allowed: TypeAlias = Integers | None


class _Remembered:
    """Where the rows of the last filter are, which the next search has too, probably."""

    def __init__(self) -> None:
        self._positions: tuple[_Allowed, Integers] | None = None
        self._bits: tuple[_Allowed, Bits | None] | None = None
        self._some: Some | None = None

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes the copies of rows take."""
        together = None if self._some is None else self._some.together
        return 0 if together is None else together.nbytes

    def positions(self, rows: FlatIndex, allowed: Integers, known_as: _Allowed) -> Integers:
        """Return the positions of labels; the same `known_as` means the same labels."""
        last = self._positions
        if last is None or last[0] is not known_as:
            last = self._positions = (known_as, rows.positions_of(allowed))
        return last[1]

    def some(self, rows: FlatIndex, positions: Integers) -> Some:
        """Return the rows at positions; once they are asked for again, copied together for a faster scan."""
        last = self._some
        if last is None or last.positions is not positions:
            last = self._some = Some(positions)
        elif last.together is None and len(positions) * rows.vectors[:1].nbytes <= _MOST_COPIED_BYTES:
            last = self._some = Some(positions, rows.vectors[positions])
        return last

    def together(self, known_as: Integers) -> int:
        """Return how many of the rows that are known as these labels were copied together."""
        last, some = self._positions, self._some
        if last is None or some is None or last[0] is not known_as or some.positions is not last[1]:
            return 0
        return 0 if some.together is None else len(some.together)

    def bits(self, rows: FlatIndex, positions: _Allowed) -> Bits | None:
        """Return a bit for each row, from the lowest of each byte on; None where all count."""
        last = self._bits
        if last is None or last[0] is not positions:
            last = self._bits = (positions, _bits(rows, positions))
        return last[1]


@dataclass(frozen=True, slots=True)
class Sealed:
    """Rows that only ever die, and what proposes near ones among them. Immutable, but for what it remembers.

    Attributes:
        rows: they.
        accelerator: what proposes; None where they are scanned.
    """

    rows: FlatIndex
    accelerator: Accelerator | None = None
    _remembered: _Remembered = field(default_factory=_Remembered)

    @property
    def last_label(self) -> int:
        """Return the highest label that it has ever had, 0 where there is none."""
        return int(self.rows.labels[-1]) if self.rows.rows else 0

    def living(self) -> Integers:
        """Return (N,) the labels of its rows that are not removed, ascending."""
        return self.rows.labels[self.rows.alive]

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes it takes beside the accelerator."""
        return self.rows.memory_bytes + self._remembered.memory_bytes

    @property
    def dead_share(self) -> float:
        """Return which share of its rows is removed."""
        return 1 - len(self.rows) / self.rows.rows if self.rows.rows else 0.0

    def together(self, known_as: Integers) -> int:
        """Return how many rows a scan finds next to each other, of those that were asked for under a name."""
        return self._remembered.together(known_as)

    def without(self, removed: Integers) -> "Sealed":
        """Return it without some labels."""
        return (
            replace(self, rows=self.rows.without(removed), _remembered=_Remembered())
            if len(removed)
            else self
        )

    def search(
        self,
        queries: Vectors,
        k: int,
        allowed: _Allowed,
        *,
        scanned: bool,
        limit: float | None,
        known_as: _Allowed,
        threads: int | None,
    ) -> list[Hits]:
        """Return each query's nearest rows; see `Index.search`.

        Args:
            queries: as there.
            k: as there.
            allowed: sealed labels, ascending.
            scanned: ask no accelerator.
            limit: only rows at most this far; then none is asked either.
            known_as: the same array means the same `allowed`.
            threads: that FAISS may use for a scan, where not as always.
        """
        accelerator = self.accelerator
        among = len(self.rows) if allowed is None else len(allowed)
        positions = None if allowed is None else self._remembered.positions(self.rows, allowed, known_as)
        if accelerator is None or scanned or limit is not None or k > _SHARE_SCANNED * among:
            some = None if positions is None else self._remembered.some(self.rows, positions)
            return self.rows.search_at(queries, k, some, max_distance=limit, threads=threads)
        passing = self._remembered.bits(self.rows, positions)
        share = among / self.rows.rows
        prepared = self.rows.measure.prepared(queries)
        proposed = accelerator.propose(prepared, k, passing=passing, share=share)
        hits = self.rows.measured(prepared, proposed, k)
        for i, hit in enumerate(hits):  # where too few were met on the way, all are looked at
            if len(hit.labels) < k:
                some = None if positions is None else Some(positions)
                (hits[i],) = self.rows.search_at(queries[i : i + 1], k, some, threads=threads)
        return hits


def _bits(rows: FlatIndex, positions: _Allowed) -> Bits | None:
    if positions is None:
        return None if len(rows) == rows.rows else np.packbits(rows.alive, bitorder="little")
    mask: Mask = np.zeros(rows.rows, np.bool_)
    mask[positions] = True
    return np.packbits(mask, bitorder="little")
