"""The matches of a search for names alone, of which there may be hundreds in one answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import overload

import orjson

from service.gallery.collection import Match

__all__ = ["NamedMatches", "json_lists", "opening_of"]

_DISTANCE = b',"distance":'


@dataclass(slots=True)  # frozen ones take several times as long to make
class NamedMatches(Sequence[Match]):
    """Matches as their JSON up to the distance, and distances; one is made of them for whoever asks for it.

    An answer needs but this of them. A name whose texts lie far apart takes as long to be fetched from
    memory as a graph takes to find it.

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
    """Yield each query's matches as JSON: objects of id, identity and distance."""
    # All numbers at once: a call takes some microseconds.
    distances = orjson.dumps(list(chain.from_iterable(one.distances for one in found)))[1:-1].split(b",")
    at = 0
    for one in found:
        end = at + len(one.openings)
        yield b"[%b]" % b",".join(map(b"%b%b}".__mod__, zip(one.openings, distances[at:end], strict=True)))
        at = end


def _match(opening: bytes, distance: float) -> Match:
    name = orjson.loads(opening.removesuffix(_DISTANCE) + b"}")
    return Match(name["id"], name["identity"], distance)
