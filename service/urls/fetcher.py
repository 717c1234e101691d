"""Pictures of many requests by their URLs: admitted, by turns, a bounded number at once."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from anyio import CapacityLimiter, create_task_group
from anyio.abc import TaskGroup

from models.errors import ImageError, ImageTooLargeError
from service.errors import OverloadedError, TooLargeError, UrlError
from service.telemetry import Fetched, UrlMetrics
from service.urls.downloads import Downloads

__all__ = ["FetchLimits", "UrlFetcher"]

# A request has no more under way or in the line for the others to wait behind.
_AT_ONCE_A_REQUEST = 8


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What all fetches together may take.

    Attributes:
        at_once: downloads that run.
        waiting: URLs that may have been admitted and not be answered yet.
        bytes: of pictures that have come for requests whose last one has not.
    """

    at_once: int
    waiting: int
    bytes: int


class _Errand:
    """The URLs of one request."""

    def __init__(self, urls: Sequence[str], request_id: str) -> None:
        self.left = iter(list(enumerate(urls)))
        self.results: list[bytes | ImageError | None] = [None] * len(urls)
        self.request_id = request_id
        self.bytes = 0
        self.failure: OverloadedError | TooLargeError | None = None


class UrlFetcher:
    """Fetches pictures; a URL that gives none is its own error.

    A request's URLs are admitted all or none. The time that a picture may take begins with its turn.

    Args:
        downloads: fetches one.
        limits: of all together.
        metrics: where it is noted.
    """

    def __init__(self, downloads: Downloads, limits: FetchLimits, metrics: UrlMetrics) -> None:
        self._downloads, self._limits, self._metrics = downloads, limits, metrics
        self._turns = CapacityLimiter(limits.at_once)
        self._waiting = self._bytes = 0
        metrics.waiting.set_function(lambda: self._waiting)

    @property
    def waiting(self) -> int:
        """Return how many URLs were admitted and are not answered yet."""
        return self._waiting

    async def fetch(self, urls: Sequence[str], request_id: str) -> list[bytes | ImageError]:
        """Return the bytes of each URL, or the error that it is; cancelled, it leaves nothing behind.

        Raises:
            TooLargeError: more URLs than may ever wait, or more bytes than all pictures may have.
            OverloadedError: too much is waiting already.
        """
        if not urls:
            return []
        errand = _Errand(urls, request_id)
        with self._admitted(errand, len(urls)):
            async with create_task_group() as group:
                for _ in range(min(len(urls), _AT_ONCE_A_REQUEST)):
                    group.start_soon(self._work, errand, group)
        if errand.failure is not None:
            raise errand.failure
        return [result for result in errand.results if result is not None]

    async def close(self) -> None:
        """Let go of what still runs."""
        await self._downloads.names.close()

    @contextmanager
    def _admitted(self, errand: _Errand, count: int) -> Iterator[None]:
        """Count a request's URLs, and its bytes until the last has come."""
        if count > self._limits.waiting:
            raise TooLargeError(
                f"{count:,} URLs came at once, and at most {self._limits.waiting:,} are taken "
                "(LOOKALIKE_MAX_WAITING_URLS). Send them in several requests."
            )
        if self._waiting + count > self._limits.waiting:
            raise OverloadedError(
                f"{self._waiting:,} URLs are waiting to be fetched, and {count:,} more would exceed the "
                f"limit of {self._limits.waiting:,} (LOOKALIKE_MAX_WAITING_URLS). Try again shortly, or send "
                "fewer at once."
            )
        self._waiting += count
        try:
            yield
        finally:
            self._waiting -= count
            self._bytes -= errand.bytes

    async def _work(self, errand: _Errand, group: TaskGroup) -> None:
        """Fetch what is left of a request, one after the other."""
        for position, url in errand.left:
            async with self._turns:
                try:
                    errand.results[position] = await self._fetch(errand, url)
                except (OverloadedError, TooLargeError) as error:
                    errand.failure = error  # raised by `fetch`, where no group wraps it
                    group.cancel_scope.cancel()
                    return

    async def _fetch(self, errand: _Errand, url: str) -> bytes | ImageError:
        started, size = time.perf_counter(), 0

        def take(count: int) -> None:
            nonlocal size
            size += count
            self._take(errand, count)

        try:
            file = await self._downloads.download(url, take, errand.request_id)
        except ImageError as error:
            errand.bytes -= size
            self._bytes -= size
            self._metrics.note(_outcome(error), time.perf_counter() - started)
            return error
        self._metrics.note("fetched", time.perf_counter() - started)
        return file

    def _take(self, errand: _Errand, count: int) -> None:
        """Count bytes that came.

        Raises:
            TooLargeError, OverloadedError: they are too many.
        """
        errand.bytes += count
        self._bytes += count
        limit = self._limits.bytes
        if errand.bytes > limit:
            raise TooLargeError(
                f"The pictures of the request's URLs have more than {limit:,} bytes altogether "
                "(LOOKALIKE_MAX_WAITING_BYTES). Send them in several requests."
            )
        if self._bytes > limit:
            raise OverloadedError(
                f"Pictures of more than {limit:,} bytes are being fetched (LOOKALIKE_MAX_WAITING_BYTES). Try "
                "again shortly, or send fewer URLs at once."
            )


def _outcome(error: ImageError) -> Fetched:
    if isinstance(error, UrlError) and error.refused:
        return "refused"
    return "too_large" if isinstance(error, ImageTooLargeError) else "unavailable"
