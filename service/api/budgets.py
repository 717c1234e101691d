"""What a request for distances or losses takes of the memory, and what would fit where that is too much."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from models.estimates import most_that_fit
from service.api.answering import wants_safetensors
from service.api.wire import SAFETENSORS

__all__ = ["Needs", "Sizes"]

# The text of a number in JSON with its comma, at most; the array that it is made from is held beside it.
_TEXT_BYTES = {4: 15, 8: 25}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The parts of what a computation takes.

    Attributes:
        peak_bytes: of the computation, its answer among them.
        numbers: how many the answer has.
        number_bytes: of each.
        other_bytes: of what else the answer holds, as objects and as their text.
    """

    peak_bytes: int
    numbers: int
    number_bytes: int = 4
    other_bytes: int = 0

    def total(self, *, as_json: bool) -> int:
        """Return the peak with the answer on its way; safetensors are sent from where they lie."""
        text = _TEXT_BYTES[self.number_bytes] if as_json else 0
        sending = self.numbers * (self.number_bytes + text)
        return max(self.peak_bytes, sending) + self.other_bytes


class Needs:
    """The memory that a request takes at its peak, and how it could be made to fit."""

    def __init__(self, request: Request, sizes: Callable[[int], Sizes], rows: int, fitting: str) -> None:
        """Keep what an estimate is made of.

        Args:
            request: its Accept header decides what the answer costs.
            sizes: the sizes for a number of rows; never less for more of them.
            rows: how many the request brings.
            fitting: what they are, as in "Up to 100 {fitting}".
        """
        self._sizes, self._rows, self._fitting = sizes, rows, fitting
        self._as_json = not wants_safetensors(request)
        self.peak_bytes = sizes(rows).total(as_json=self._as_json)

    def advice(self, limit: int) -> str:
        """Return a sentence, without its full stop, about what would fit within this limit."""
        count = self._most(limit, as_json=self._as_json)
        advice = f"Up to {count:,} {self._fitting}" if count else f"Not even 1 of the {self._fitting}"
        as_tensors = self._most(limit, as_json=False)
        if as_tensors == count:
            return advice
        more = "all do" if as_tensors == self._rows else f"up to {as_tensors:,} do"
        return f"{advice}; where the answer is safetensors (Accept: {SAFETENSORS}), {more}"

    def _most(self, limit: int, *, as_json: bool) -> int:
        return most_that_fit(lambda rows: self._sizes(rows).total(as_json=as_json), limit, self._rows)
