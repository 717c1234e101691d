"""Ways to propose near rows, the fastest first, each with a floor under the distances of all others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from models.errors import LookalikeError
from service.gallery.collection import Vectors
from service.gallery.index.buffers import Integers
from service.gallery.index.measuring import Measure
from service.gallery.index.packed import Packed
from service.gallery.index.rounding import Floats
from service.gallery.index.scanning import scan, scan_at

__all__ = ["Proposals", "TakesLongError", "Way"]

_SPARE_CANDIDATES = 32
_SPARE_CODES = 54
_WIDENING = 8

# From (Q, D) prepared queries to (Q, F) positions, -1 for rows whose distance overflowed, and (Q,) floors.
Way: TypeAlias = Callable[[Vectors], tuple[Integers, Floats]]


class TakesLongError(LookalikeError):
    """A search that was to be brief is not: what is nearest would have to be found out from the rows."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What rows are proposed from.

    Attributes:
        vectors: (N, D) all rows, dead ones included.
        living: how many of them are not removed.
        measure: how they are compared.
        longest: the largest norm of a row.
        among: (P,) positions of those that may be found; None for all, and then dead ones are proposed too.
        packed: codes of these, where there are some.
        threads: that FAISS may use.
        at_once: where codes do not tell at once, give up.
    """

    vectors: Vectors
    living: int
    measure: Measure
    longest: float
    among: Integers | None
    packed: Packed | None
    threads: int
    at_once: bool

    @property
    def candidates(self) -> int:
        """Return how many rows may be found."""
        return self.living if self.among is None else len(self.among)

    def ways(self, k: int) -> Iterator[Way]:
        """Yield one way after the other; for those of which the k nearest are not sure yet, ask for the next.

        After the last one, more than half of the rows would be proposed.

        Raises:
            TakesLongError: it was to be brief.
        """
        fetch = k + _SPARE_CODES
        if self.packed is not None and fetch * 2 < self.candidates:
            codes = self.packed.codes
            codes.uses += 1
            yield partial(self._by_codes, self.packed, fetch)
            if self.at_once:
                codes.uses -= 1  # whoever takes the time for it will count
                raise TakesLongError("Codes do not tell the nearest at once.")
            if fetch * _WIDENING * 2 < self.candidates:
                yield partial(self._by_codes, self.packed, fetch * _WIDENING)
            codes.misses += 1
        fetch = k + _SPARE_CANDIDATES
        while fetch * 2 < self.candidates:
            yield partial(self._by_rows, fetch)
            fetch *= _WIDENING

    def _by_codes(self, packed: Packed, fetch: int, queries: Vectors) -> tuple[Integers, Floats]:
        return packed.nearest(queries, fetch, self.measure, self.threads)

    def _by_rows(self, fetch: int, queries: Vectors) -> tuple[Integers, Floats]:
        vectors, product, threads = self.vectors, self.measure.metric == "inner_product", self.threads
        if self.among is None:
            if (size := len(vectors)) > self.living:  # a selector takes several times as long
                fetch = min(size, fetch * size // self.living + _SPARE_CANDIDATES)
            positions, scores = scan(queries, vectors, fetch, product=product, threads=threads)
        else:
            positions, scores = scan_at(queries, vectors, self.among, fetch, product=product, threads=threads)
        return positions, self.measure.floors(queries, scores, self.longest)
