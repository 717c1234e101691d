"""The pictures of one request on their way through the encoder."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.engines import Embeddings
from models.faces import Face, FaceChoice, Quality

__all__ = ["Job", "Look", "Result", "View"]

Result = Embeddings | Exception


@dataclass(frozen=True, slots=True)
class Look:
    """How a request wants its pictures looked at.

    Attributes:
        faces: which faces count, where the encoder finds faces; None is its usual choice.
        quality: whether crops are measured. Faces always are.
        thumbnail: the longer side of a small picture to make of each; None makes none.
    """

    faces: FaceChoice | None = None
    quality: bool = False
    thumbnail: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What is in a picture beside its embeddings.

    Attributes:
        faces: that the request is about, the largest first; None where the picture is one crop.
        quality: of the crop, where it was asked for.
        thumbnail: a JPEG, likewise.
    """

    faces: tuple[Face, ...] | None = None
    quality: Quality | None = None
    thumbnail: bytes | None = None


class Job:
    """What a request waits for: one result for each of its pictures, or for each of the crops in them.

    Settled from any thread; every picture is settled once, with an embedding or with an exception, or when
    each of the crops that it was divided into is.

    Args:
        files: the pictures as they came.
        settled: called for each picture, with the bytes of its file, wherever it was settled.
        done: called once, when the last is settled, in the thread that settled it.
        look: how they are looked at.

    Attributes:
        files, look: as given.
        wanted: whether anybody still waits; what nobody waits for is settled without being computed.
        came: when, by `time.perf_counter`.
        views: what is in the pictures, by position; set by who decodes, before the picture is settled.
    """

    __slots__ = (
        "_done",
        "_left",
        "_lock",
        "_missing",
        "_owners",
        "_parts",
        "_results",
        "_settled",
        "came",
        "files",
        "look",
        "views",
        "wanted",
    )

    def __init__(
        self,
        files: Sequence[bytes],
        *,
        settled: Callable[[int], None],
        done: Callable[["Job"], None],
        look: Look | None = None,
    ) -> None:
        self.files = files
        self.look = look or Look()
        self.wanted = True
        self.came = time.perf_counter()
        self.views: dict[int, View] = {}
        self._results: list[Result | None] = [None] * len(
            files
        )  # of pictures, then of the crops of divided ones
        self._parts: dict[int, range] = {}  # a divided picture's places in the results
        self._owners: dict[int, int] = {}  # whose place it is
        self._left: dict[int, int] = {}  # how many crops of a divided picture are not settled
        self._missing = len(files)
        self._settled, self._done = settled, done
        self._lock = threading.Lock()

    def divide(self, position: int, count: int) -> range:
        """Return the places where the crops of a picture are to be settled instead of it, in their order.

        Args:
            position: of the picture, which is not settled and not divided yet.
            count: of its crops; with none, the picture is settled.
        """
        with self._lock:
            first = len(self._results)
            places = range(first, first + count)
            self._results.extend([None] * count)
            self._owners.update(dict.fromkeys(places, position))
            self._parts[position], self._left[position] = places, count
        if not count:
            self._finish(position)
        return places

    def picture_of(self, place: int) -> int:
        """Return the position of the picture whose place it is, or of whose crop."""
        return self._owners.get(place, place)

    def share(self, place: int) -> float:
        """Return how much of a picture a place is: of one of its n crops 1/n."""
        return 1 / len(self._parts.get(self.picture_of(place), (place,)))

    def settle(self, place: int, result: Result) -> None:
        """Keep the result of a picture, of all crops of a divided one, or of a crop; the first one counts."""
        for each in self._parts.get(place, (place,)):
            self._settle_one(each, result)

    def results(self) -> list[Result]:
        """Return what each picture came to, in their order, once all are settled; none was divided."""
        return [
            result for found in self.crops() for result in (found if isinstance(found, list) else [found])
        ]

    def crops(self) -> list[list[Embeddings] | Exception]:
        """Return the embeddings of each picture's crops, or its error, once all are settled."""
        assert not self._missing
        return [self._of(position) for position in range(len(self.files))]

    def _of(self, position: int) -> list[Embeddings] | Exception:
        found = [self._results[place] for place in self._parts.get(position, (position,))]
        errors = [result for result in found if isinstance(result, Exception)]
        return errors[0] if errors else [result for result in found if isinstance(result, np.ndarray)]

    def _settle_one(self, place: int, result: Result) -> None:
        with self._lock:
            if self._results[place] is not None:
                return
            self._results[place] = result
            position = self._owners.get(place, place)
            if place != position:
                self._left[position] -= 1
                if self._left[position]:
                    return
        self._finish(position)

    def _finish(self, position: int) -> None:
        with self._lock:
            self._missing -= 1
            last = not self._missing
        self._settled(len(self.files[position]))
        if last:
            self._done(self)
