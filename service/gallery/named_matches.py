"""The matches of a search for names alone, of which there may be hundreds in one answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from service.gallery.collection import Match
from service.gallery.packed_names import Name

__all__ = ["NamedMatches"]


@dataclass(slots=True)  # frozen ones take several times as long to make
class NamedMatches(Sequence[Match]):
    """Names and distances side by side; a match is made of them for whoever asks for it.

    To make all of them took a tenth of the time of a batch of searches.

    Attributes:
        names: (N,) ids and identities, nearest first.
        distances: (N,).
    """

    names: Sequence[Name]
    distances: Sequence[float]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> "NamedMatches": ...
    def __getitem__(self, index: int | slice) -> "Match | NamedMatches":
        if isinstance(index, slice):
            return NamedMatches(self.names[index], self.distances[index])
        return Match(*self.names[index], self.distances[index])

    def __iter__(self) -> Iterator[Match]:
        for (item_id, identity), distance in zip(self.names, self.distances, strict=True):
            yield Match(item_id, identity, distance)
