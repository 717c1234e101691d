"""Batches for the encoder: one thread is its only caller, and every picture gets a result or an exception."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.engines import Embeddings
from models.errors import LookalikeError
from models.images import Pixels
from service.errors import EncoderFailedError
from service.jobs import Job
from service.pace import Pace
from service.rotation import Rotation
from service.telemetry import EncoderMetrics

__all__ = ["BatchLimits", "BatchSize", "Batcher", "Encode"]

Encode = Callable[[Pixels], Embeddings]  # (B, H, W, C) uint8 -> (B, D)

_logger = logging.getLogger("lookalike")

_MOST_ABANDONED = 3  # threads that hang for ever; each holds its engine's memory
_LOOKS_PER_TIMEOUT = 8
_AIMED = 0.8  # of the target: batches of one size do not all take the same time


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be, and how long it may take.

    Attributes:
        most: pictures.
        target_s: batches are kept so small that they take no longer than this, where one picture does not:
            it is what a single picture waits for behind a long request.
        timeout_s: after which an encoder that does not answer is given up.
    """

    most: int
    target_s: float
    timeout_s: float


class BatchSize:
    """How many pictures the next batch may have, by how long the last ones took.

    Args:
        most: never more.
        target_s: that a batch should take at most, where one picture does not take longer; four fifths of it
            are aimed at.

    Attributes:
        now: from 1 to `most`.
    """

    def __init__(self, most: int, target_s: float) -> None:
        self._most, self._aim_s = most, _AIMED * target_s
        self.now = 1  # nothing is known yet

    def note(self, count: int, took_s: float) -> None:
        """Take note of a batch: fewer after one that took too long, up to twice as many after a full one."""
        fitting = int(count * self._aim_s / took_s) if took_s > 0 else self._most
        if took_s > self._aim_s:
            self.now = max(1, min(self.now, fitting))
        elif count == self.now:
            self.now = min(self._most, max(fitting, self.now), 2 * self.now)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A decoded picture of a job."""

    position: int
    pixels: Pixels
    came: float


_Taken = list[tuple[Job, _Picture]]


class Batcher:
    """Takes what waits as soon as the encoder is free, one picture of each request after the other.

    Nothing is waited for beyond the first picture: a batch is what has come while the last one ran. Where a
    batch fails it is run again in halves, so that only the picture at fault gets the exception. Where the
    thread dies, or the encoder does not come back in time, everything that waits gets an exception at once,
    and a new thread goes on, with an encoder loaded anew where the old one hangs.

    Args:
        encode: runs a batch.
        renew: loads the encoder once more, in place of one that hangs.
        limits: of a batch.
        metrics: where waits, sizes and times are noted.
        pace: where it is noted how fast pictures are encoded.
        room: called, in the encoder's thread, when pictures were taken and others may be decoded.
    """

    def __init__(
        self,
        encode: Encode,
        *,
        renew: Callable[[], Encode],
        limits: BatchLimits,
        metrics: EncoderMetrics,
        pace: Pace,
        room: Callable[[], None] = lambda: None,
    ) -> None:
        self._encode, self._renew = encode, renew
        self._limits, self._metrics, self._pace, self._room = limits, metrics, pace, room
        self._waiting: Rotation[Job, _Picture] = Rotation()
        self._running: _Taken = []
        self._since = 0.0
        self._size = BatchSize(limits.most, limits.target_s)
        self._generation = 0
        self._abandoned = 0
        self._closed = False
        self._failure: str | None = None
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._thread = self._start(renewed=False)
        self._watcher = threading.Thread(target=self._watch, name="encoder-watch", daemon=True)
        self._watcher.start()

    @property
    def failure(self) -> str | None:
        """Return why nothing can be encoded any more, as a sentence; None where it can."""
        return self._failure

    def __len__(self) -> int:
        """Return how many decoded pictures wait."""
        return len(self._waiting)

    def waiting(self, job: Job) -> int:
        """Return how many decoded pictures of a job wait."""
        with self._changed:
            return self._waiting.waiting(job)

    def put(self, job: Job, position: int, pixels: Pixels) -> None:
        """Let a decoded picture wait for its turn; it is settled, come what may."""
        with self._changed:
            refused = self._failure or ("The encoder was closed." if self._closed else None)
            if refused is None:
                self._waiting.add(job, _Picture(position, pixels, time.perf_counter()))
                self._changed.notify()
                return
        job.settle(position, EncoderFailedError(refused))

    def drop(self, job: Job) -> list[int]:
        """Forget a job's pictures that still wait, and return their positions."""
        with self._changed:
            return [picture.position for picture in self._waiting.drop(job)]

    def close(self) -> None:
        """Stop when the batch that runs is done; what waits gets an exception."""
        with self._changed:
            self._closed = True
            left = self._waiting.drop_all()
            self._changed.notify_all()
        self._ended.set()
        _fail(left, EncoderFailedError("The encoder was closed."))
        self._thread.join(self._limits.timeout_s)
        self._watcher.join()

    def _start(self, *, renewed: bool) -> threading.Thread:
        """Start the thread of the present generation. A daemon: one that hangs must not keep the process."""
        generation = self._generation
        thread = threading.Thread(target=self._live, args=(generation, renewed), name="encoder", daemon=True)
        thread.start()
        return thread

    def _live(self, generation: int, renewed: bool) -> None:
        """Run batches until another thread does."""
        try:
            if renewed:
                self._encode = self._renew()
            encode = self._encode
            while batch := self._next(generation):
                self._room()
                self._run(encode, batch)
        except BaseException as error:
            if renewed and isinstance(error, LookalikeError):
                self._give_up(generation, f"The encoder hangs and could not be loaded again: {error}")
            else:
                self._replace(generation, f"The encoder's thread ended: {type(error).__name__}.", hangs=False)

    def _next(self, generation: int) -> _Taken:
        """Wait for pictures and take a batch; none where this thread is no longer the one."""
        with self._changed:
            self._running = [] if generation == self._generation else self._running
            while generation == self._generation:
                batch = self._take()
                if batch:
                    self._running, self._since = batch, time.perf_counter()
                    return batch
                if self._closed:
                    break
                self._changed.wait()
        return []

    def _take(self) -> _Taken:
        batch: _Taken = []
        while len(batch) < self._size.now and (taken := self._waiting.take()):
            job, picture = taken
            if job.wanted:
                batch.append(taken)
            else:
                self._metrics.dropped_images.inc()
                job.settle(picture.position, EncoderFailedError("Nobody waited for it."))
        return batch

    def _run(self, encode: Encode, batch: _Taken) -> None:
        """Run a batch; where it fails, its halves."""
        started = time.perf_counter()
        try:
            rows = encode(np.stack([picture.pixels for _, picture in batch]))
            if len(rows) != len(batch):
                raise EncoderFailedError(f"The encoder gave {len(rows)} rows for {len(batch)} pictures.")
        except Exception as error:
            self._metrics.failed_batches.inc()
            if len(batch) == 1:
                ((job, picture),) = batch
                _logger.warning("A picture could not be encoded: %s", error)
                job.settle(picture.position, error)
                return
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                self._run(encode, half)
            return
        took = time.perf_counter() - started
        self._metrics.note_batch(took, [started - picture.came for _, picture in batch])
        self._pace.note(len(batch), min(job.came for job, _ in batch))
        self._size.note(len(batch), took)
        for (job, picture), row in zip(batch, rows, strict=True):
            job.settle(picture.position, row)

    def _watch(self) -> None:
        """Replace the thread where its batch takes too long."""
        while not self._ended.wait(self._limits.timeout_s / _LOOKS_PER_TIMEOUT):
            with self._changed:
                generation, late = self._generation, self._running
                late = late if time.perf_counter() - self._since > self._limits.timeout_s else []
            if late:
                self._replace(
                    generation,
                    f"The encoder did not answer within {self._limits.timeout_s:g} seconds.",
                    hangs=True,
                )

    def _replace(self, generation: int, why: str, *, hangs: bool) -> None:
        """Give everything that waits an exception, and go on with another thread."""
        with self._changed:
            if generation != self._generation or self._closed:
                return
            left = self._end_generation()
            self._abandoned += hangs
            if self._abandoned > _MOST_ABANDONED:
                self._failure = f"{why} It has hung {self._abandoned} times; restart the service."
            else:
                self._thread = self._start(renewed=hangs)
        self._metrics.restarts.inc()
        _logger.error("%s %d pictures were not encoded.", why, len(left))
        _fail(left, EncoderFailedError(f"{why} Send the pictures again."))

    def _give_up(self, generation: int, why: str) -> None:
        with self._changed:
            if generation != self._generation:
                return
            self._failure = why
            left = self._end_generation()
        _logger.critical("%s", why)
        _fail(left, EncoderFailedError(why))

    def _end_generation(self) -> _Taken:
        """Take from the present thread what it runs and what waits. The lock is held."""
        left = self._running + self._waiting.drop_all()
        self._running = []
        self._generation += 1
        return left


def _fail(pictures: _Taken, error: Exception) -> None:
    for job, picture in pictures:
        job.settle(picture.position, error)
