"""The matches of a search for names alone, of which there may be hundreds in one answer."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import orjson

from service.gallery.collection import Match

__all__ = ["NamedMatches", "NamedResults", "opening_of"]

_BEFORE = b"},"  # ends the match before
_DISTANCE = b',"distance":'
_AT_ONCE = 10_000  # distances: meanwhile no other thread has the interpreter, and each is held twice


@dataclass(slots=True)  # frozen ones take several times as long to make
class NamedMatches(Sequence[Match]):
    """Matches as their JSON up to the distance, and distances; one is made of them for whoever asks for it.

    An answer needs no more of them. The bytes of a name are fetched from memory at once, where a tuple and
    its strings lie in three places; see docs/decisions/0024-answers-where-they-are-found.md.

    Attributes:
        openings: (N,) what `opening_of` gives, nearest first.
        distances: (N,).
    """

    openings: Sequence[bytes]
    distances: Sequence[float]

    def __len__(self) -> int:
        return len(self.openings)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> "NamedMatches": ...
    def __getitem__(self, index: int | slice) -> "Match | NamedMatches":
        if isinstance(index, slice):
            return NamedMatches(self.openings[index], self.distances[index])
        return _match(self.openings[index], self.distances[index])

    def __iter__(self) -> Iterator[Match]:
        return map(_match, self.openings, self.distances)


@dataclass(slots=True)
class NamedResults(Sequence[NamedMatches]):
    """The matches of several queries, one query's after the other's, without an object for each query.

    Attributes:
        openings: (N,) of all queries; see `NamedMatches`.
        distances: (N,).
        ends: (Q,) where those of each query end.
    """

    openings: Sequence[bytes]
    distances: Sequence[float]
    ends: Sequence[int]

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

    def json_lists(self) -> Iterator[bytes]:
        """Return each query's matches as JSON: a list of objects of id, identity and distance."""
        if len(self.openings) <= _AT_ONCE:
            return _json_lists(self.openings, self.distances, self.ends)
        return self._json_by_parts()

    def _json_by_parts(self) -> Iterator[bytes]:
        first = 0
        while first < len(self.ends):
            begin = self._begin(first)
            last = max(first + 1, bisect_right(self.ends, begin + _AT_ONCE, first))
            yield from _json_lists(
                self.openings[begin : self.ends[last - 1]],
                self.distances[begin : self.ends[last - 1]],
                [one - begin for one in self.ends[first:last]],
            )
            first = last

    def _begin(self, query: int) -> int:
        return self.ends[query - 1] if query else 0


def opening_of(item_id: str, identity: str | None) -> bytes:
    """Return the JSON of a match with such a name up to its distance, after the end of the one before."""
    return _BEFORE + orjson.dumps({"id": item_id, "identity": identity})[:-1] + _DISTANCE


def _json_lists(
    openings: Sequence[bytes], distances: Sequence[float], ends: Sequence[int]
) -> Iterator[bytes]:
    if not openings:
        yield from [b"[]"] * len(ends)
        return
    # All numbers in one call, which takes microseconds by itself, and no step of the interpreter for each.
    pieces = [b""] * (2 * len(openings))
    pieces[::2], pieces[1::2] = openings, orjson.dumps(distances)[1:-1].split(b",")
    begin = 0
    for end in ends:
        text = b"".join(pieces[2 * begin : 2 * end])
        yield b"[%b}]" % text[len(_BEFORE) :] if text else b"[]"
        begin = end


def _match(opening: bytes, distance: float) -> Match:
    name = orjson.loads(opening.removeprefix(_BEFORE).removesuffix(_DISTANCE) + b"}")
    return Match(name["id"], name["identity"], distance)
