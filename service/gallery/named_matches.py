"""The matches of a search for names alone, of which there may be hundreds in one answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import overload

import orjson

from service.gallery.collection import Match

__all__ = ["NamedMatches", "json_lists", "opening_of"]

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


def opening_of(item_id: str, identity: str | None) -> bytes:
    """Return the JSON of a match with such a name, up to its distance."""
    return orjson.dumps({"id": item_id, "identity": identity})[:-1] + _DISTANCE


def json_lists(found: Sequence[NamedMatches]) -> Iterator[bytes]:
    """Yield each query's matches as JSON: a list of objects of id, identity and distance."""
    step = max(1, _AT_ONCE // max([1, *map(len, found)]))
    for at in range(0, len(found), step):
        yield from _json_lists(found[at : at + step])


def _json_lists(found: Sequence[NamedMatches]) -> Iterator[bytes]:
    # All numbers in one call, which takes some microseconds by itself.
    distances = orjson.dumps(list(chain.from_iterable(one.distances for one in found)))[1:-1].split(b",")
    at = 0
    for one in found:
        end = at + len(one.openings)
        yield b"[%b]" % b",".join(map(b"%b%b}".__mod__, zip(one.openings, distances[at:end], strict=True)))
        at = end


def _match(opening: bytes, distance: float) -> Match:
    name = orjson.loads(opening.removesuffix(_DISTANCE) + b"}")
    return Match(name["id"], name["identity"], distance)
