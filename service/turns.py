"""Decoded pictures that wait for the encoder, how many of them a batch takes, and where they come from."""

from dataclasses import dataclass
from typing import Protocol

from models.images import Pixels
from service.batch_size import BatchLimits, BatchSize
from service.errors import EncoderFailedError
from service.jobs import Job
from service.rotation import Rotation
from service.telemetry import EncoderMetrics

__all__ = ["Picture", "Source", "Taken", "Turns"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture of a job.

    Attributes:
        position: of the picture, or of its crop.
        pixels: as the encoder takes them.
        came: when, by `time.perf_counter`.
        lane_s: that a lane took to decode it, a part of what its batch takes.
    """

    position: int
    pixels: Pixels
    came: float
    lane_s: float


Taken = list[tuple[Job, Picture]]


class Source(Protocol):
    """Where pictures come from."""

    def undecoded(self) -> tuple[int, int]:
        """Return how many a lane could decode by itself, and of how many requests; any lock may be held."""

    def decode_one(self) -> bool:
        """Put the next one by turns, decoded by the calling thread; whether there was one."""

    def make_room(self) -> None:
        """Be told, in a lane's thread or another, that fewer wait and others may be decoded."""

    def give_up(self, why: str) -> None:
        """Give what is not decoded an exception: nothing is encoded any more."""


class Turns:
    """Pictures by turns of their requests, in batches that take no longer than they may.

    Not safe for several threads: whoever shares one holds a lock.

    Args:
        limits: of a batch.
        metrics: where it is noted what was dropped.
    """

    def __init__(self, limits: BatchLimits, metrics: EncoderMetrics) -> None:
        self._waiting: Rotation[Job, Picture] = Rotation()
        self._size = BatchSize(limits.most, limits.target_s)
        self._metrics = metrics

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def waiting(self, job: Job) -> int:
        """Return how many of a job wait."""
        return self._waiting.waiting(job)

    def add(self, job: Job, picture: Picture) -> None:
        """Let a picture wait."""
        self._waiting.add(job, picture)

    def share(self, free: int, *, undecoded: int = 0, requests: int = 0) -> int:
        """Return how many a lane may take of what waits, and may soon wait.

        Args:
            free: lanes, this one among them; each is left as much.
            undecoded: pictures that may be decoded before.
            requests: of how many requests these are.
        """
        most = self._size.for_requests(self._waiting.owners + requests)
        return min(most, -(-(len(self._waiting) + undecoded) // free))

    def take(self, free: int) -> Taken:
        """Take a batch for one of the lanes that are free; what nobody waits for is dropped."""
        most = self.share(free)
        batch: Taken = []
        while len(batch) < most and (taken := self._waiting.take()):
            job, picture = taken
            if job.wanted:
                batch.append(taken)
            else:
                self._metrics.dropped_images.inc()
                job.settle(picture.position, EncoderFailedError("Nobody waited for it."))
        return batch

    def note(self, count: int, took_s: float) -> None:
        """Take note of how long a batch of so many took."""
        self._size.note(count, took_s)

    def drop(self, job: Job) -> list[int]:
        """Remove a job's pictures, and return their positions."""
        return [picture.position for picture in self._waiting.drop(job)]

    def drop_all(self) -> Taken:
        """Remove all, and return them."""
        return self._waiting.drop_all()
