"""Rows that stay as they are, with what makes them fast, and what is remembered of the last filter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.accelerator import Accelerator, Bits
from service.gallery.index.buffers import Integers
from service.gallery.index.codes import Codes, Order
from service.gallery.index.coding import Coding
from service.gallery.index.flat import FlatIndex, Mask
from service.gallery.index.hits import EvenHits, Hits
from service.gallery.index.packed import Packed

__all__ = ["LabelOrder", "Sealed"]

_SHARE_SCANNED = 0.1  # k beyond this share of the rows is faster found by a scan

_Allowed: TypeAlias = Integers | None
LabelOrder: TypeAlias = Callable[[str | None], tuple[str, Integers] | None]


class _Remembered:
    """Where the rows of the last filter are, which the next search has too, probably."""

    def __init__(self) -> None:
        self._split: tuple[Integers, Integers, Integers] | None = None
        self._positions: tuple[Integers, Integers] | None = None
        self._bits: tuple[_Allowed, Bits | None] | None = None
        self._packed: Packed | None = None

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes the codes take that were packed."""
        return 0 if self._packed is None else self._packed.copied_bytes

    def split(self, last_label: int, allowed: Integers) -> tuple[Integers, Integers]:
        """Return which labels are at most the last one, and which are above."""
        last = self._split
        if last is None or last[0] is not allowed:
            new = allowed > last_label
            old = allowed[~new] if new.any() else allowed
            last = self._split = (allowed, old, allowed[new])
        return last[1:]

    def positions(self, rows: FlatIndex, allowed: Integers) -> Integers:
        """Return the positions of labels; the same array means the same labels."""
        last = self._positions
        if last is None or last[0] is not allowed:
            last = self._positions = (allowed, rows.positions_of(allowed))
        return last[1]

    def packed(self, codes: Codes, positions: Integers, copied: Callable[[int], None]) -> Packed:
        """Return the codes at positions; `copied` is told of how many, where they had to be."""
        last = self._packed
        if last is None or last.positions is not positions or last.codes is not codes:
            last = self._packed = Packed.of(codes, positions)
            if last.copied_bytes:
                copied(len(positions))
        return last

    def packed_no_more(self) -> None:
        """Let go of codes that are given up."""
        self._packed = None

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
    _coding: Coding = field(default_factory=Coding)

    @property
    def last_label(self) -> int:
        """Return the highest label that it has ever had, 0 where there is none."""
        return int(self.rows.labels[-1]) if self.rows.rows else 0

    def split(self, labels: Integers) -> tuple[Integers, Integers]:
        """Return which of some labels may be its own, and which are newer; the same array is recognised."""
        return self._remembered.split(self.last_label, labels)

    def living(self) -> Integers:
        """Return (N,) the labels of its rows that are not removed, ascending."""
        return self.rows.labels[self.rows.alive]

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes it takes; rows in a file count, for used ones are in memory."""
        fast = self.accelerator.memory_bytes if self.accelerator else 0
        return self.rows.memory_bytes + fast + self._remembered.memory_bytes + self._coding.memory_bytes

    @property
    def dead_share(self) -> float:
        """Return which share of its rows is removed."""
        return 1 - len(self.rows) / self.rows.rows if self.rows.rows else 0.0

    def weight(self, rows: int) -> int:
        """Return as how many rows, measured where they lie, it counts to scan some; see `Coding.weight`."""
        return self._coding.weight(self.rows.vectors, rows)

    def encode_if_due(self, order: LabelOrder) -> None:
        """Make codes of the rows, or lay them in order, where scans of some have been long enough for that.

        Args:
            order: takes the name of the order in which they lie, and returns a better one: its name, and
                labels in it.
        """

        def of_rows(name: str | None) -> Order | None:
            better = order(name)
            return None if better is None else Order.by(better[0], self._positions_by(better[1]))

        self._coding.encode_if_due(self.rows.vectors, of_rows)

    def _positions_by(self, labels: Integers) -> Integers:
        """Return (N,) the positions of all rows: those of some labels first, in their order."""
        held = self.rows.labels
        places = np.minimum(np.searchsorted(held, labels), len(held) - 1)
        places = places[held[places] == labels]
        others = np.ones(len(held), np.bool_)
        others[places] = False
        return np.concatenate([places, np.flatnonzero(others)])

    def without(self, removed: Integers) -> "Sealed":
        """Return it without some labels."""
        return (
            replace(self, rows=self.rows.without(removed), _remembered=_Remembered())
            if len(removed)
            else self
        )

    def forgetting(self) -> "Sealed":
        """Return it without what was made of the rows, and remembered of them, in memory."""
        return replace(self, _remembered=_Remembered(), _coding=Coding())

    def search(
        self,
        queries: Vectors,
        k: int,
        allowed: _Allowed,
        *,
        scanned: bool,
        limit: float | None,
        at_once: bool,
    ) -> Sequence[Hits]:
        """Return each query's nearest rows; see `Index.search`.

        Args:
            queries: as there.
            k: as there.
            allowed: sealed labels, in any order; the same array again is recognised.
            scanned: ask no accelerator.
            limit: only rows at most this far; then none is asked either.
            at_once: as there.
        """
        positions = None if allowed is None else self._remembered.positions(self.rows, allowed)
        if scanned or limit is not None or not self.proposes(k, positions):
            packed = None if positions is None else self._packed(positions, k)
            return self.rows.search_at(
                queries, k, positions, packed=packed, max_distance=limit, at_once=at_once
            )
        prepared = self.rows.measure.prepared(queries)
        proposed = self.proposed(prepared, k, positions)
        measured = self.rows.measured(prepared, proposed, k)
        if isinstance(measured, EvenHits):  # k of each
            return measured
        hits = list(measured)
        for i, hit in enumerate(hits):  # where too few were met on the way, all are looked at
            if len(hit.labels) < k:
                (hits[i],) = self.rows.search_at(queries[i : i + 1], k, positions, at_once=at_once)
        return hits

    def proposes(self, k: int, positions: _Allowed = None) -> bool:
        """Return whether there is something faster than a scan for the k nearest, of those at positions."""
        among = len(self.rows) if positions is None else len(positions)
        return self.accelerator is not None and k <= _SHARE_SCANNED * among

    def proposed(self, prepared: Vectors, k: int, positions: _Allowed = None) -> Integers:
        """Return (Q, F) positions of rows that are probably near, -1 where there are no more.

        Args:
            prepared: (Q, D) queries, as the rows are.
            k: how many are wanted, of which `proposes` holds.
            positions: of those that count; None for all.
        """
        assert self.accelerator
        passing = self._remembered.bits(self.rows, positions)
        among = len(self.rows) if positions is None else len(positions)
        return self.accelerator.propose(prepared, k, passing=passing, share=among / self.rows.rows)

    def _packed(self, positions: Integers, k: int) -> Packed | None:
        """Return codes of the rows at positions; None where these are scanned where they lie."""
        codes = self._coding.for_scan(len(positions)) if k <= _SHARE_SCANNED * len(positions) else None
        if self._coding.codes is None:
            self._remembered.packed_no_more()
        if codes is not None:
            return self._remembered.packed(codes, positions, self._coding.note)
        self._coding.note(len(positions))
        return None


def _bits(rows: FlatIndex, positions: _Allowed) -> Bits | None:
    if positions is None:
        return None if len(rows) == rows.rows else np.packbits(rows.alive, bitorder="little")
    mask: Mask = np.zeros(rows.rows, np.bool_)
    mask[positions] = True
    return np.packbits(mask, bitorder="little")
