"""The numbers of a field in their order: what lies between two is found without comparing all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.gallery.field_values import Numbers
from service.gallery.fields import FieldType
from service.gallery.filter_sql import operand, ordered_operand
from service.gallery.filters import AllOf, Compare, Filter, OneOf, Order, fields_of

__all__ = ["Bound", "Bounds", "Ordered", "bounds_of"]

Bound: TypeAlias = tuple[Order, float]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a filter asks of one field of numbers, all of it.

    Attributes:
        field: its name.
        limits: each a way to compare, and with what.
    """

    field: str
    limits: Sequence[Bound]


@dataclass(frozen=True, slots=True)
class Ordered:
    """The numbers that there are, ascending, and where each of them stands.

    Attributes:
        floats: (M,) float64, ascending, without those that are missing.
        places: (M,) int32 of them: half as much to read, and sorted in half the time.
    """

    floats: npt.NDArray[np.float64]
    places: npt.NDArray[np.int32]

    @classmethod
    def of(cls, numbers: Numbers) -> "Ordered":
        """Sort a field's numbers, which float64 holds all: without rests."""
        present = np.flatnonzero(numbers.present())
        floats = numbers.floats[present]
        order = np.argsort(floats)
        return cls(floats[order], present[order].astype(np.int32))

    @property
    def nbytes(self) -> int:
        """Return how many bytes it takes."""
        return self.floats.nbytes + self.places.nbytes

    def within(self, limits: Sequence[Bound]) -> npt.NDArray[np.int32]:
        """Return (P,) the places of the numbers within all limits, in no particular order."""
        first, last = 0, len(self.floats)
        for order, value in limits:
            after = order in ("gt", "lte")
            at = int(np.searchsorted(self.floats, value, side="right" if after else "left"))
            first, last = (max(first, at), last) if order in ("gt", "gte") else (first, min(last, at))
        return self.places[first : max(first, last)]


def bounds_of(condition: Filter, kinds: Mapping[str, FieldType]) -> Bounds | None:
    """Return what a filter asks of its one field; None where it asks for more than bounds, or of several.

    Args:
        condition: the filter.
        kinds: of the declared fields; all of the filter's are declared, and none is a keyword.

    Raises:
        FilterError: the field is compared with a value of another type, or has no order.
    """
    fields = set(fields_of(condition))
    if len(fields) != 1:
        return None
    field = fields.pop()
    limits: list[Bound] = []
    orders: tuple[Order, ...]
    for part in condition.parts if isinstance(condition, AllOf) else (condition,):
        if isinstance(part, Compare):
            value, orders = ordered_operand(part, kinds[field]), (part.order,)
        elif isinstance(part, OneOf) and len(part.values) == 1:
            value, orders = operand(field, part.values[0], kinds[field]), ("gte", "lte")
        else:
            return None
        if isinstance(value, str) or float(value) != value:  # as a whole number beyond 2**53
            return None
        limits += [(order, float(value)) for order in orders]
    return Bounds(field, limits)
