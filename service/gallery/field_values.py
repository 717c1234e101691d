"""The values of one declared field in memory, a place for each item; they compare exactly as in SQLite."""

import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from service.gallery.fields import FieldType
from service.gallery.filters import Order

__all__ = ["Mask", "Numbers", "Values", "Words", "values_of", "word_bytes"]

Mask: TypeAlias = npt.NDArray[np.bool_]
Places: TypeAlias = npt.NDArray[np.int64]  # of the values to take

_EXACT = 2**53  # up to here float64 holds every whole number
_RESTS: Final = 2**11  # more than the rests of 64 bits that there are: -512 to 512
_WORD_BYTES = 100  # of a word's number, and of its place in a dictionary

_COMPARE: dict[Order, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_STRICTLY: dict[Order, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.gt,
    "lt": operator.lt,
    "lte": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of up to 64 bits, whole ones or not: the nearest float64, and what that is short of.

    Rounding keeps the order, so of two numbers with the same float64 the rests decide.

    Attributes:
        floats: (N,) float64, NaN where the field is missing, which compares with nothing.
        rests: (N,) int16, or None where all are 0, as they are up to 2**53.
    """

    floats: npt.NDArray[np.float64]
    rests: npt.NDArray[np.int16] | None

    @classmethod
    def of(cls, values: Sequence[int | float | None]) -> "Numbers":
        """Take some in.

        Args:
            values: N numbers of at most 64 bits, none of them NaN; None where the field is missing.
        """
        floats = np.array([math.nan if value is None else value for value in values], np.float64)
        if not (np.abs(floats) >= _EXACT).any():
            return cls(floats, None)
        rests = np.array([_parts(value)[1] for value in values], np.int16)
        return cls(floats, rests if rests.any() else None)

    @property
    def word_bytes(self) -> int:
        """Return how many of these bytes different strings take."""
        return 0

    @property
    def nbytes(self) -> int:
        """Return how many bytes it takes."""
        return self.floats.nbytes + (0 if self.rests is None else self.rests.nbytes)

    def taken(self, places: Places) -> "Numbers":
        """Return those at some places.

        Args:
            places: (M,) int64, each 0 to N - 1, in any order.
        """
        return Numbers(self.floats[places], None if self.rests is None else self.rests[places])

    def joined(self, values: Sequence[Any]) -> "Numbers":
        """Return it with more behind, N + M; itself it stays as it is.

        Args:
            values: M more, as `of` takes them.
        """
        more = Numbers.of(values)
        rests = None
        if self.rests is not None or more.rests is not None:
            rests = np.concatenate([self._all_rests, more._all_rests])
        return Numbers(np.concatenate([self.floats, more.floats]), rests)

    def one_of(self, values: Sequence[Any]) -> Mask:
        """Return where the number equals one of some.

        Args:
            values: any number of them, of at most 64 bits each.

        Returns:
            (N,) bool.
        """
        pairs = [_parts(value) for value in values]
        known, numbers = np.unique(np.array([first for first, _ in pairs], np.float64), return_inverse=True)
        equal: Mask = np.isin(self.floats, known)
        rests = np.array([rest for _, rest in pairs], np.int64)
        if self.rests is not None or rests.any():
            at = np.flatnonzero(equal)
            found = np.searchsorted(known, self.floats[at]) * _RESTS + self._all_rests[at]
            equal[at] = np.isin(found, numbers * _RESTS + rests)
        return equal

    def compared(self, order: Order, value: Any) -> Mask:
        """Return where the number comes before or after one.

        Args:
            order: which of the two, and whether it may be equal.
            value: a number of at most 64 bits.

        Returns:
            (N,) bool, false where the field is missing.
        """
        number, rest = _parts(value)
        if self.rests is None and not rest:
            return np.asarray(_COMPARE[order](self.floats, number), np.bool_)
        beyond = _STRICTLY[order](self.floats, number)
        return np.asarray(
            beyond | ((self.floats == number) & _COMPARE[order](self._all_rests, rest)), np.bool_
        )

    def present(self) -> Mask:
        """Return where there is a number: (N,) bool."""
        return ~np.isnan(self.floats)

    @property
    def _all_rests(self) -> npt.NDArray[np.int16]:
        return np.zeros(len(self.floats), np.int16) if self.rests is None else self.rests


@dataclass(frozen=True, slots=True)
class Words:
    """Strings, each different one held once.

    Attributes:
        numbers: of the different ones, by the string.
        at: (N,) int32, the number of each place's string, -1 where the field is missing.
        word_bytes: about how many the different strings take.
    """

    numbers: Mapping[str, int]
    at: npt.NDArray[np.int32]
    word_bytes: int

    @classmethod
    def of(cls, values: Sequence[str | None]) -> "Words":
        """Take some in.

        Args:
            values: N strings; None where the field is missing.
        """
        return cls({}, np.empty(0, np.int32), 0).joined(values)

    @property
    def nbytes(self) -> int:
        """Return how many bytes it takes."""
        return self.at.nbytes + self.word_bytes

    def taken(self, places: Places) -> "Words":
        """Return those at some places.

        Args:
            places: (M,) int64, each 0 to N - 1, in any order.
        """
        return Words(self.numbers, self.at[places], self.word_bytes)

    def joined(self, values: Sequence[Any]) -> "Words":
        """Return it with more behind, N + M; itself it stays as it is.

        Args:
            values: M more, as `of` takes them.
        """
        numbers, taken = self.numbers, self.word_bytes
        new = dict.fromkeys(value for value in values if value is not None and value not in numbers)
        if new:  # in another dictionary: somebody may be reading this one
            numbers = {**numbers, **{value: len(numbers) + i for i, value in enumerate(new)}}
            taken += sum(map(word_bytes, new))
        at = np.array([-1 if value is None else numbers[value] for value in values], np.int32)
        return Words(numbers, np.concatenate([self.at, at]), taken)

    def one_of(self, values: Sequence[Any]) -> Mask:
        """Return where the string equals one of some.

        Args:
            values: any number of strings.

        Returns:
            (N,) bool.
        """
        numbers = {self.numbers[value] for value in values if value in self.numbers}
        if len(numbers) == 1:
            return np.asarray(self.at == numbers.pop(), np.bool_)
        return self._where(number in numbers for number in range(len(self.numbers)))

    def compared(self, order: Order, value: Any) -> Mask:
        """Return where the string comes before or after one, by code points.

        Args:
            order: which of the two, and whether it may be equal.
            value: a string.

        Returns:
            (N,) bool, false where the field is missing.
        """
        compare = _COMPARE[order]
        return self._where(compare(word, value) for word in self.numbers)

    def present(self) -> Mask:
        """Return where there is a string: (N,) bool."""
        return np.asarray(self.at >= 0, np.bool_)

    def _where(self, holds: Iterable[bool]) -> Mask:
        """Return (N,) where it holds of the string, by what holds of each different one."""
        of_number: Mask = np.fromiter((*holds, False), np.bool_, len(self.numbers) + 1)  # missing: at -1
        return of_number[self.at]


Values: TypeAlias = Numbers | Words


def values_of(values: Sequence[Any], kind: FieldType) -> Values:
    """Take in the values of a field of a type.

    Args:
        values: N as the record holds them (see `fields.stored_value`); None where the field is missing.
        kind: the field's type; a keyword is a string, and any other a number.
    """
    return Words.of(values) if kind == "keyword" else Numbers.of(values)


def word_bytes(word: str) -> int:
    """Return about how many bytes a different string takes."""
    return sys.getsizeof(word) + _WORD_BYTES


def _parts(value: int | float | None) -> tuple[float, int]:
    """Return the nearest float64 of a number, and what it is short of."""
    if value is None or isinstance(value, float):
        return math.nan if value is None else value, 0
    return float(value), value - int(float(value))
