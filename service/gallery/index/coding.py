"""When the codes of rows are made, in which order they lie, and for which scans they are taken."""

import logging
import threading
from collections.abc import Callable

from service.gallery.collection import Vectors
from service.gallery.index.codes import Codes, Order

__all__ = ["Coding"]

_LEAST_ROWS = 500  # fewer are measured before codes are packed
_FASTER = 6  # times as fast as the rows where they lie
_MOST_BYTES = 2**28
_MOST_PACKED_BYTES = 2**26
_OFTEN = 8  # times as many rows: taking them out costs as much as laying all in another order

_logger = logging.getLogger(__name__)


class Coding:
    """The codes of some rows that stay as they are. Thread-safe.

    They are made once as many rows were scanned where they lie as there are: that takes about as long as
    making them. They are laid in another order where taking some out has taken as long as that does.
    """

    def __init__(self, *, least_rows: int = _LEAST_ROWS, most_bytes: int = _MOST_BYTES) -> None:
        """Make none yet.

        Args:
            least_rows: fewer are scanned where they lie.
            most_bytes: that codes may take.
        """
        self._least_rows, self._most_bytes = least_rows, most_bytes
        self._scanned = 0
        self._codes: Codes | None = None
        self._tried = False
        self._turn = threading.Lock()

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes the codes take."""
        codes = self._codes
        return 0 if codes is None else codes.nbytes

    @property
    def codes(self) -> Codes | None:
        """Return the codes, where there are some."""
        return self._codes

    def weight(self, vectors: Vectors, rows: int) -> int:
        """Return as how many rows, measured where they lie, it counts to scan some.

        Args:
            vectors: (N, D) all of them.
            rows: how many.
        """
        if self._is_due(vectors):
            return max(rows, len(vectors))  # codes of all are made first
        return rows // _FASTER if self._are_taken(rows) else rows

    def for_scan(self, rows: int) -> Codes | None:
        """Return the codes for a scan of so many rows; None where they are to be scanned where they lie."""
        return self._codes if self._are_taken(rows) else None

    def note(self, rows: int) -> None:
        """Take note of a scan of rows that do not lie next to each other."""
        if rows >= self._least_rows:
            self._scanned += rows

    def encode_if_due(self, vectors: Vectors, order: Callable[[str | None], Order | None]) -> None:
        """Make the codes, or lay them in another order, where that pays; who comes meanwhile does not wait.

        Making them takes some half a millisecond for each thousand rows of 128 numbers.

        Args:
            vectors: (N, D) all rows.
            order: takes the name of their order, and returns another one that is better now.
        """
        if not self._is_due(vectors) or not self._turn.acquire(blocking=False):
            return
        try:
            if self._is_due(vectors):  # still, as somebody may have been done with it just now
                self._encode(vectors, order)
        except MemoryError:
            _logger.warning(
                "There is no memory for codes of %s rows; these are scanned.", f"{len(vectors):,}"
            )
        finally:
            self._turn.release()

    def _encode(self, vectors: Vectors, order: Callable[[str | None], Order | None]) -> None:
        self._scanned = 0
        codes = self._codes
        if not self._tried:
            self._tried = True
            self._codes = Codes.of(vectors)
        elif codes is not None:
            self._codes = _laid(codes, order)

    def _are_taken(self, rows: int) -> bool:
        codes = self._codes
        if codes is None or not codes.telling or rows < self._least_rows:
            return False
        return bool(rows * codes.values[0].nbytes <= _MOST_PACKED_BYTES)

    def _is_due(self, vectors: Vectors) -> bool:
        if self._tried:
            return self._codes is not None and self._scanned >= _OFTEN * len(vectors)
        return self._scanned >= len(vectors) and Codes.bytes_of(vectors) <= self._most_bytes


def _laid(codes: Codes, order: Callable[[str | None], Order | None]) -> Codes | None:
    """Return codes in a better order, where there is one; None where they do not tell the nearest anyway."""
    if not codes.telling:
        return None
    better = order(None if codes.order is None else codes.order.name)
    return codes if better is None else codes.laid(better)
