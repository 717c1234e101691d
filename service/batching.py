"""Batches for the encoder: a few threads alone call it, and every picture gets a result or an exception."""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from models.engines import Embeddings
from models.errors import LookalikeError
from models.images import Pixels
from service.batch_size import BatchLimits
from service.cpus import stand_back
from service.errors import EncoderFailedError
from service.jobs import Job
from service.pace import Pace
from service.telemetry import EncoderMetrics
from service.turns import NONE_UNDECODED, Picture, Source, Taken, Turns

__all__ = ["Batcher", "Encode"]

Encode = Callable[[Pixels], Embeddings]  # (B, H, W, C) uint8 -> (B, D)

_logger = logging.getLogger("lookalike")

_MOST_ABANDONED = 3  # threads that hang for ever; each holds its engine's memory
_LOOKS_PER_TIMEOUT = 8
_STEPS_BACK = 5  # behind the event loop
_LOOK_AGAIN_S = 0.01  # for pictures that could not be decoded just then, of which no lane is told again


class Batcher:
    """Takes what waits as soon as a lane is free, one picture of each request after the other.

    Nothing is waited for beyond the first picture: a batch is what has come while the last ones ran, or the
    lane's share of all that waits and runs. Lanes decode, before they take it, what nobody else does. Where a
    batch fails it is run again in halves, so that only the picture at fault gets the exception. Where a
    thread dies, or the encoder does not come back in time, all that waits gets an exception at once, and new
    threads go on, with an encoder loaded anew where the old one hangs.

    Args:
        encode: runs a batch.
        renew: loads the encoder once more, in place of one that hangs.
        limits: of a batch.
        metrics: where waits, sizes and times are noted.
        pace: where it is noted how fast pictures are encoded.
        source: of what is not put by others.
        lanes: returns how many batches run at once; asked again when the encoder was loaded anew.
    """

    def __init__(
        self,
        encode: Encode,
        *,
        renew: Callable[[], Encode],
        limits: BatchLimits,
        metrics: EncoderMetrics,
        pace: Pace,
        source: Source,
        lanes: Callable[[], int] = lambda: 1,
    ) -> None:
        self._encode, self._renew = encode, renew
        self._limits, self._metrics, self._pace, self._source = limits, metrics, pace, source
        self._waiting = Turns(limits, metrics)
        self._count_lanes, self._lanes = lanes, 1
        self._running: dict[int, tuple[Taken, float]] = {}  # by lane, and since when
        self._generation = 0
        self._abandoned = 0
        self._closed = False
        self._failure: str | None = None
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(0, renewed=False)
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

    def put(self, job: Job, position: int, pixels: Pixels, *, lane_s: float = 0.0) -> None:
        """Let a decoded picture wait for its turn; it is settled, come what may.

        Args:
            job: of the picture.
            position: of the picture, or of its crop.
            pixels: as the encoder takes them.
            lane_s: that a lane took to decode it, which is about to take it, so that none is woken.
        """
        with self._changed:
            refused = self._failure or ("The encoder was closed." if self._closed else None)
            if refused is None:
                self._waiting.add(job, Picture(position, pixels, time.perf_counter(), lane_s))
                if not lane_s:
                    self._changed.notify()
                return
        job.settle(position, EncoderFailedError(refused))

    def wake(self, pictures: int) -> None:
        """Look at the source: there are so many more in it."""
        with self._changed:
            self._changed.notify(pictures)

    def drop(self, job: Job) -> list[int]:
        """Forget a job's pictures that still wait, and return their positions."""
        with self._changed:
            left = self._waiting.drop(job)
        self._source.make_room()
        return left

    def close(self) -> None:
        """Stop when the batches that run are done; what waits gets an exception."""
        with self._changed:
            self._closed = True
            threads = list(self._threads)
            left = self._waiting.drop_all()
            self._changed.notify_all()
            self._encode = _closed  # or the engine's memory would stay until the garbage is collected
        self._ended.set()
        _fail(left, EncoderFailedError("The encoder was closed."))
        until = time.monotonic() + self._limits.timeout_s
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._watcher.join()

    def _start(self, lane: int, *, renewed: bool) -> None:
        """Start a lane's thread, a daemon: one that hangs must not keep the process."""
        arguments = (self._generation, lane, renewed)
        thread = threading.Thread(target=self._live, args=arguments, name=f"encoder-{lane}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _live(self, generation: int, lane: int, renewed: bool) -> None:
        """Run batches until the threads of another generation do."""
        stand_back(threading.get_native_id(), _STEPS_BACK)
        try:
            if renewed:
                self._take_over(self._renew())
            encode = self._encode
            if lane == 0:
                self._start_others(generation)
            while batch := self._next(generation, lane):
                self._source.make_room()
                self._run(encode, batch)
        except BaseException as error:
            if renewed and isinstance(error, LookalikeError):
                self._give_up(generation, f"The encoder hangs and could not be loaded again: {error}")
            else:
                self._replace(generation, f"The encoder's thread ended: {type(error).__name__}.", hangs=False)

    def _take_over(self, encode: Encode) -> None:
        """Encode by another from now on, unless nothing is encoded any more."""
        with self._changed:
            if not self._closed:
                self._encode = encode

    def _start_others(self, generation: int) -> None:
        with self._changed:
            if generation == self._generation and not self._closed:
                self._lanes = self._count_lanes()
                for lane in range(1, self._lanes):
                    self._start(lane, renewed=False)

    def _next(self, generation: int, lane: int) -> Taken:
        """Wait for pictures and take a batch; none where this thread is no longer the one."""
        with self._changed:
            if generation == self._generation:
                self._running.pop(lane, None)
        could_decode = True
        while (batch := self._next_or_more(generation, lane, may_decode=could_decode)) is None:
            could_decode = self._source.decode_one()
        return batch

    def _next_or_more(self, generation: int, lane: int, *, may_decode: bool) -> Taken | None:
        """Wait for pictures and take a batch; None where one is to be decoded for it first."""
        with self._changed:
            while generation == self._generation:
                undecoded = self._source.undecoded() if may_decode else NONE_UNDECODED
                running = sum(len(batch) for batch, _ in self._running.values())
                share = self._waiting.share(self._lanes, running=running, undecoded=undecoded)
                first = undecoded.single and not self._waiting.single  # or it is behind what is decoded
                if first or (undecoded.pictures and len(self._waiting) < share):
                    return None
                batch = self._waiting.take(self._lanes, running=running)
                if batch:
                    self._running[lane] = (batch, time.perf_counter())
                    if self._waiting:
                        self._changed.notify()
                    return batch
                if self._closed:
                    break
                self._changed.wait(None if may_decode else _LOOK_AGAIN_S)
                may_decode = True
            if self._waiting:  # what this lane has decoded, and others have not heard of
                self._changed.notify()
        return []

    def _run(self, encode: Encode, batch: Taken) -> None:
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
        with self._changed:
            pictures = sum(job.share(picture.position) for job, picture in batch)
            self._pace.note(pictures, min(job.came for job, _ in batch))
            self._waiting.note(len(batch), took + sum(picture.lane_s for _, picture in batch))
        for (job, picture), row in zip(batch, rows, strict=True):
            job.settle(picture.position, row)

    def _watch(self) -> None:
        """Replace the threads where a batch takes too long."""
        while not self._ended.wait(self._limits.timeout_s / _LOOKS_PER_TIMEOUT):
            with self._changed:
                generation, now = self._generation, time.perf_counter()
                late = [
                    batch for batch, since in self._running.values() if now - since > self._limits.timeout_s
                ]
            if late:
                self._replace(
                    generation,
                    f"The encoder did not answer within {self._limits.timeout_s:g} seconds.",
                    hangs=True,
                )

    def _replace(self, generation: int, why: str, *, hangs: bool) -> None:
        """Give everything that waits an exception, and go on with other threads."""
        with self._changed:
            if generation != self._generation or self._closed:
                return
            left = self._end_generation()
            self._abandoned += hangs
            if self._abandoned > _MOST_ABANDONED:
                self._failure = f"{why} It has hung {self._abandoned} times; restart the service."
            else:
                self._start(0, renewed=hangs)
        self._metrics.restarts.inc()
        _logger.error("%s %d pictures were not encoded.", why, len(left))
        again = f"{why} Send the pictures again."
        self._tell_source(self._failure or (again if hangs else None))
        _fail(left, EncoderFailedError(again))

    def _give_up(self, generation: int, why: str) -> None:
        with self._changed:
            if generation != self._generation or self._closed:
                return
            self._failure = why
            left = self._end_generation()
        _logger.critical("%s", why)
        self._tell_source(why)
        _fail(left, EncoderFailedError(why))

    def _tell_source(self, lost: str | None) -> None:
        if lost:  # or what is not decoded yet would wait for the next one to hang
            self._source.give_up(lost)
        self._source.make_room()

    def _end_generation(self) -> Taken:
        """Take from the present threads what they run and what waits. The lock is held."""
        left = [taken for batch, _ in self._running.values() for taken in batch] + self._waiting.drop_all()
        self._running.clear()
        self._threads.clear()
        self._generation += 1
        self._changed.notify_all()  # the other lanes end
        return left


def _closed(pixels: Pixels) -> Embeddings:
    """Stand in the place of an encoder that nobody may call any more."""
    raise EncoderFailedError("The encoder was closed.")


def _fail(pictures: Taken, error: Exception) -> None:
    for job, picture in pictures:
        job.settle(picture.position, error)
