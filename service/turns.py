"""Decoded pictures that wait for the encoder, how many of them a batch takes, and where they come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from models.images import Pixels
from service.batch_size import BatchLimits, BatchSize
from service.errors import EncoderFailedError
from service.jobs import Job
from service.rotation import Rotation
from service.telemetry import EncoderMetrics

__all__ = ["NONE_UNDECODED", "Picture", "RequestTurns", "Source", "Taken", "Turns", "Undecoded"]

Item = TypeVar("Item")


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


class RequestTurns(Rotation[Job, Item]):
    """Pictures by turns of their requests.

    Attributes:
        single: how many of those that wait are all that their request has brought.
    """

    def __init__(self) -> None:
        super().__init__()
        self.single = 0

    def add(self, owner: Job, item: Item) -> None:
        """Let a picture wait."""
        super().add(owner, item)
        self.single += _single(owner)

    def take(self, may: Callable[[Job], bool] = lambda owner: True) -> tuple[Job, Item] | None:
        """Take the next by turns, of a request that may have one."""
        taken = super().take(may)
        self.single -= taken is not None and _single(taken[0])
        return taken

    def drop(self, owner: Job) -> list[Item]:
        """Remove a request's pictures, and return them."""
        items = super().drop(owner)
        self.single -= len(items) * _single(owner)
        return items

    def drop_all(self) -> list[tuple[Job, Item]]:
        """Remove all, and return them."""
        self.single = 0
        return super().drop_all()


@dataclass(frozen=True, slots=True)
class Undecoded:
    """Pictures that a lane could decode by itself.

    Attributes:
        pictures: how many.
        requests: whose they are.
        single: those that are all that their request has brought.
    """

    pictures: int = 0
    requests: int = 0
    single: int = 0


NONE_UNDECODED = Undecoded()


class Source(Protocol):
    """Where pictures come from."""

    def undecoded(self) -> Undecoded:
        """Return what a lane could decode by itself; any lock may be held."""

    def decode_one(self) -> bool:
        """Put the next one by turns, decoded by the calling thread; whether it is worth to look for another.

        It is not where as many wait already as may.
        """

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
        self._waiting: RequestTurns[Picture] = RequestTurns()
        self._size = BatchSize(limits.most, limits.target_s)
        self._metrics = metrics

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def single(self) -> int:
        """Return how many of them are all that their request has brought."""
        return self._waiting.single

    def waiting(self, job: Job) -> int:
        """Return how many of a job wait."""
        return self._waiting.waiting(job)

    def add(self, job: Job, picture: Picture) -> None:
        """Let a picture wait."""
        self._waiting.add(job, picture)

    def share(self, lanes: int, *, running: int = 0, undecoded: Undecoded = NONE_UNDECODED) -> int:
        """Return how many a lane may take of what waits, and may soon wait.

        A request's only picture has its answer after this batch, so no second one of another request makes
        the batch longer. And lanes have as much each: where clients send the next picture when they have an
        answer, one lane would otherwise have nearly all of them, and the others wait for those to come back.

        Args:
            lanes: that there are.
            running: pictures in the other lanes.
            undecoded: what may be decoded before.
        """
        requests = self._waiting.owners + undecoded.requests
        most = self._size.for_requests(requests)
        if self._waiting.single or undecoded.single:
            most = min(most, requests)
        return min(most, -(-(len(self._waiting) + undecoded.pictures + running) // lanes))

    def take(self, lanes: int, *, running: int = 0) -> Taken:
        """Take a batch for a lane, its share; what nobody waits for is dropped."""
        most = self.share(lanes, running=running)
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


def _single(job: Job) -> bool:
    return len(job.files) == 1
