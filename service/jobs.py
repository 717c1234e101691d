"""The pictures of one request on their way through the encoder."""

import threading
import time
from collections.abc import Callable, Sequence

from models.engines import Embeddings

__all__ = ["Job", "Result"]

Result = Embeddings | Exception


class Job:
    """What a request waits for: one result for each of its pictures.

    Settled from any thread; every picture is settled once, with an embedding or with an exception.

    Args:
        files: the pictures as they came.
        settled: called for each picture, with the bytes of its file, wherever it was settled.
        done: called once, when the last is settled, in the thread that settled it.

    Attributes:
        files: as given.
        wanted: whether anybody still waits; what nobody waits for is settled without being computed.
        came: when, by `time.perf_counter`.
    """

    __slots__ = ("_done", "_lock", "_missing", "_results", "_settled", "came", "files", "wanted")

    def __init__(
        self, files: Sequence[bytes], *, settled: Callable[[int], None], done: Callable[["Job"], None]
    ) -> None:
        self.files = files
        self.wanted = True
        self.came = time.perf_counter()
        self._results: list[Result | None] = [None] * len(files)
        self._missing = len(files)
        self._settled, self._done = settled, done
        self._lock = threading.Lock()

    def settle(self, position: int, result: Result) -> None:
        """Keep the result of a picture; the first one counts."""
        with self._lock:
            if self._results[position] is not None:
                return
            self._results[position] = result
            self._missing -= 1
            last = not self._missing
        self._settled(len(self.files[position]))
        if last:
            self._done(self)

    def results(self) -> list[Result]:
        """Return what each picture came to, in their order, once all are settled."""
        assert not self._missing
        return [result for result in self._results if result is not None]
