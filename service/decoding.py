"""Pictures are decoded before they wait for the encoder, in a few threads or in those that encode."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from models.errors import ImageError
from models.images import Pixels
from service.batching import Batcher
from service.errors import EncoderFailedError
from service.jobs import Job
from service.telemetry import EncoderMetrics
from service.turns import NONE_UNDECODED, RequestTurns, Undecoded

__all__ = ["DecodePool"]

_logger = logging.getLogger("lookalike")


class DecodePool:
    """Decodes by turns, one picture of each request, and not further ahead than the encoder soon needs.

    A picture that cannot be decoded is settled with its error, and never waits for the encoder. Without
    threads of its own, the encoder's lanes decode for themselves: where each computes on one processor, and
    there are as many, a picture that stays with one thread waits for no other.

    Args:
        decode: the picture at a position of a job, into its crops; raises ImageError.
        threads: how many decode at once; with none the encoder's lanes do.
        ahead: how many decoded pictures of one request may wait; of all requests together four times as many,
            for pixels are many times larger than files.
        metrics: where times are noted.
    """

    def __init__(
        self,
        decode: Callable[[Job, int], Sequence[Pixels]],
        *,
        threads: int,
        ahead: int,
        metrics: EncoderMetrics,
    ) -> None:
        self._decode, self._metrics = decode, metrics
        self._ahead, self._ahead_in_all = ahead, 4 * ahead
        self._waiting: RequestTurns[int] = RequestTurns()
        self._decoding: dict[Job, int] = {}  # how many of each are being decoded now
        self._changed = threading.Condition()
        self._closed = False
        self._batcher: Batcher | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"decoder-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self, batcher: Batcher) -> None:
        """Begin, and hand what is decoded to a batcher."""
        self._batcher = batcher
        for thread in self._threads:
            thread.start()

    def add(self, job: Job) -> None:
        """Let all pictures of a job wait for their turn."""
        assert self._batcher is not None
        places = range(len(job.files))
        with self._changed:
            refused = "The encoder was closed." if self._closed else self._batcher.failure
            if not refused:
                for position in places:
                    self._waiting.add(job, position)
                self._changed.notify(len(places))
        if refused:
            _fail([(job, position) for position in places], refused)
        elif not self._threads:
            self._batcher.wake(len(places))

    def drop(self, job: Job) -> list[int]:
        """Forget a job's pictures that still wait, and return their positions."""
        with self._changed:
            return self._waiting.drop(job)

    def make_room(self) -> None:
        """Go on decoding: the encoder has taken some."""
        if self._threads and self._waiting:
            with self._changed:
                self._changed.notify(len(self._threads))

    def undecoded(self) -> Undecoded:
        """Return what waits for an encoder's lane to decode it."""
        waiting = self._waiting
        return NONE_UNDECODED if self._threads else Undecoded(len(waiting), waiting.owners, waiting.single)

    def decode_one(self) -> bool:
        """Decode the next picture by turns, if one may be decoded now; return whether another may follow.

        Where all are gone meanwhile that is so: else a lane would wait for pictures without having looked for
        those that came just then, of which it was told before it waited.
        """
        with self._changed:
            taken = self._take()
            too_far_ahead = taken is None and len(self._waiting) > 0
        if taken:
            self._decode_taken(*taken)
        return not too_far_ahead

    def give_up(self, why: str) -> None:
        """Give what waits an exception."""
        with self._changed:
            left = self._waiting.drop_all()
        _fail(left, why)

    def close(self) -> None:
        """Stop when what is being decoded is done; what waits gets an exception."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.give_up("The encoder was closed.")
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while taken := self._next():
            self._decode_taken(*taken)

    def _decode_taken(self, job: Job, position: int) -> None:
        try:
            self._hand_on(job, position)
        except BaseException as error:  # handed to whoever waits for the picture; the thread goes on
            _logger.exception("A picture could not be decoded.")
            unheard = EncoderFailedError(f"A decoder broke off: {type(error).__name__}.")
            job.settle(position, error if isinstance(error, Exception) else unheard)
        finally:
            self._done(job)

    def _hand_on(self, job: Job, position: int) -> None:
        """Decode a picture and let it wait for its batch."""
        assert self._batcher is not None
        if not job.wanted:
            self._metrics.dropped_images.inc()
            job.settle(position, EncoderFailedError("Nobody waited for it."))
            return
        started = time.perf_counter()
        try:
            crops = self._decode(job, position)
        except ImageError as error:
            # Its frames, and those of what it came from, hold the job, which holds it: the file would stay
            # until the garbage is collected.
            error.__cause__ = error.__context__ = None
            job.settle(position, error.with_traceback(None))
            return
        took = time.perf_counter() - started
        self._metrics.decode_seconds.observe(took)
        places = [position] if len(crops) == 1 else job.divide(position, len(crops))
        for place, pixels in zip(places, crops, strict=True):
            self._batcher.put(job, place, pixels, lane_s=0.0 if self._threads else took)

    def _next(self) -> tuple[Job, int] | None:
        """Wait for a picture that may be decoded now; None once the pool is closed."""
        with self._changed:
            while not self._closed:
                if taken := self._take():
                    return taken
                self._changed.wait()
        return None

    def _take(self) -> tuple[Job, int] | None:
        """Take the next picture that may be decoded now; None where there is none. The lock is held."""
        assert self._batcher is not None
        batcher = self._batcher
        if len(batcher) + sum(self._decoding.values()) >= self._ahead_in_all:
            return None
        taken = self._waiting.take(
            lambda job: batcher.waiting(job) + self._decoding.get(job, 0) < self._ahead
        )
        if taken:
            job, _ = taken
            self._decoding[job] = self._decoding.get(job, 0) + 1
        return taken

    def _done(self, job: Job) -> None:
        with self._changed:
            self._decoding[job] -= 1
            if not self._decoding[job]:
                del self._decoding[job]


def _fail(pictures: Iterable[tuple[Job, int]], why: str) -> None:
    for job, position in pictures:
        job.settle(position, EncoderFailedError(why))
