"""What a request for distances or losses takes of memory and time, and what would fit where that is much."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from models.estimates import most_that_fit
from service.api.answering import wants_safetensors
from service.api.wire import SAFETENSORS

__all__ = ["Needs", "Sizes", "operations_of"]

# The text of a number in JSON with its comma, at most; the array that it is made from is held beside it.
_TEXT_BYTES = {4: 15, 8: 25}

# Operations of some milliseconds. Work of no more does not queue behind a computation of minutes, and takes
# tens of MiB at most.
_SMALL_OPERATIONS = 2**23
# What else takes time, in operations: beginning a pair, writing a number, and a byte of objects and text.
_PAIR_OPERATIONS = 16
_TEXT_OPERATIONS = 50
_OBJECT_OPERATIONS = 2
_GRADIENT_PASSES = 3  # the loss itself, and two products as large to pull its slopes down to the rows


@dataclass(frozen=True, slots=True)
class Sizes:
    """The parts of what a computation takes.

    Attributes:
        peak_bytes: of the computation, its answer among them.
        numbers: how many the answer has.
        number_bytes: of each.
        other_bytes: of what else the answer holds, as objects and as their text.
        operations: of the arithmetic; see `operations_of`.
    """

    peak_bytes: int
    numbers: int
    operations: int
    number_bytes: int = 4
    other_bytes: int = 0

    def total(self, *, as_json: bool) -> int:
        """Return the peak with the answer on its way; safetensors are sent from where they lie."""
        text = _TEXT_BYTES[self.number_bytes] if as_json else 0
        sending = self.numbers * (self.number_bytes + text)
        return max(self.peak_bytes, sending) + self.other_bytes

    def small(self, *, as_json: bool) -> bool:
        """Return whether computing and writing it takes some milliseconds only."""
        writing = _TEXT_OPERATIONS * self.numbers if as_json else 0
        writing += _OBJECT_OPERATIONS * self.other_bytes
        return self.operations + writing <= _SMALL_OPERATIONS


def operations_of(pairs: int, dimension: int, *, compared: int = 0, gradients: bool = False) -> int:
    """Return roughly how many operations a computation takes: to bound its time, whatever the metric.

    Args:
        pairs: of rows, whose distances are formed.
        dimension: D.
        compared: d_ap with d_an, to count or to sum up triplets.
        gradients: whether the gradient is formed as well.
    """
    passes = _GRADIENT_PASSES if gradients else 1
    return passes * pairs * (dimension + _PAIR_OPERATIONS) + compared


class Needs:
    """The memory that a request takes at its peak, how it could be made to fit, and whether it is small.

    Attributes:
        peak_bytes: with its answer on its way.
        small: whether it takes some milliseconds only.
    """

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
        asked = sizes(rows)
        self.peak_bytes = asked.total(as_json=self._as_json)
        self.small = asked.small(as_json=self._as_json)

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
