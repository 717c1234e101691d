"""The matches of a search for names alone, of which there may be hundreds in one answer."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import orjson

from service.gallery.collection import Match
from service.gallery.index.rounding import Floats

__all__ = ["NamedMatches", "NamedResults", "opening_of"]

_BEFORE = b"},"  # ends the match before
_DISTANCE = b',"distance":'
_AT_ONCE = 10_000  # distances: meanwhile no other thread has the interpreter, and each is held twice


@dataclass(slots=True, eq=False)  # frozen ones take several times as long to make
class NamedMatches(Sequence[Match]):
    """Matches as their JSON up to the distance, and distances; one is made for whoever asks for it.

    An answer needs no more of them. The bytes of a name are fetched from memory at once, where a tuple and
    its strings lie in three places; see docs/decisions/0024-answers-where-they-are-found.md.

    Attributes:
        openings: (N,) what `opening_of` gives, nearest first.
        distances: (N,).
    """

    openings: Sequence[bytes]
    distances: Floats

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedMatches):
            return NotImplemented
        return self.openings == other.openings and np.array_equal(self.distances, other.distances)

    def __len__(self) -> int:
        return len(self.openings)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> "NamedMatches": ...
    def __getitem__(self, index: int | slice) -> "Match | NamedMatches":
        if isinstance(index, slice):
            return NamedMatches(self.openings[index], self.distances[index])
        return _match(self.openings[index], self.distances.item(index))

    def __iter__(self) -> Iterator[Match]:
        return map(_match, self.openings, self.distances.tolist())


@dataclass(slots=True, eq=False)
class NamedResults(Sequence[NamedMatches]):
    """The matches of several queries, one query's after the other's, without an object for each query.

    Attributes:
        openings: (N,) of all queries; see `NamedMatches`.
        distances: (N,).
        ends: (Q,) where those of each query end.
    """

    openings: Sequence[bytes]
    distances: Floats
    ends: Sequence[int]

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, NamedResults) else NotImplemented

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> NamedMatches: ...
    @overload
    def __getitem__(self, index: slice) -> "NamedResults": ...
    def __getitem__(self, index: int | slice) -> "NamedMatches | NamedResults":
        if not isinstance(index, slice):
            at = range(len(self.ends))[index]
            begin, end = self._begin(at), self.ends[at]
            return NamedMatches(self.openings[begin:end], self.distances[begin:end])
        first, last, step = index.indices(len(self.ends))
        if step != 1:
            raise ValueError("Results can be taken out that follow each other, and no others.")
        if last - first == len(self.ends):
            return self
        begin, end = self._begin(first), self._begin(max(first, last))
        ends = [one - begin for one in self.ends[first:last]]
        return NamedResults(self.openings[begin:end], self.distances[begin:end], ends)

    def json_parts(self, before: bytes = b"", after: bytes = b"") -> Iterator[bytes]:
        """Yield each query's list of matches, objects of id, identity and distance, as JSON; none is empty.

        Those of several queries come at once, with commas between them.

        Args:
            before: is put before each list.
            after: is put after each.
        """
        first = 0
        while first < len(self.ends):
            last = max(first + 1, bisect_right(self.ends, self._begin(first) + _AT_ONCE, first))
            yield _json(self[first:last], before, after)
            first = last

    def _begin(self, query: int) -> int:
        return self.ends[query - 1] if query else 0


def opening_of(item_id: str, identity: str | None) -> bytes:
    """Return the JSON of a match with such a name up to its distance, after the end of the one before."""
    return _BEFORE + orjson.dumps({"id": item_id, "identity": identity})[:-1] + _DISTANCE


def _json(results: NamedResults, before: bytes, after: bytes) -> bytes:
    openings = results.openings
    pieces = [b""] * (2 * len(openings))
    # All numbers in one call, which takes microseconds by itself, and no step of the interpreter for each.
    numbers = orjson.dumps(results.distances, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    pieces[::2], pieces[1::2] = openings, numbers.split(b",") if openings else []
    first, none, last = before + b"[", before + b"[]" + after + b",", b"}]" + after + b","
    begin, between, without = 0, b"", 0
    for end in results.ends:
        if begin == end:
            without += 1  # which may be all of a million
        else:
            pieces[2 * begin] = between + none * without + first + openings[begin][len(_BEFORE) :]
            between, without = last, 0
        begin = end
    pieces.append((between + none * without)[:-1])
    return b"".join(pieces)


def _match(opening: bytes, distance: float) -> Match:
    name = orjson.loads(opening.removeprefix(_BEFORE).removesuffix(_DISTANCE) + b"}")
    return Match(name["id"], name["identity"], distance)
