"""Encoders that can be held, and jobs whose results can be waited for."""

import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.errors import BundleError
from service.batching import Batcher
from service.jobs import Job, Result
from service.turns import NONE_UNDECODED, Undecoded

__all__ = [
    "BAD",
    "PATIENCE_S",
    "Elsewhere",
    "Pixels",
    "Recorder",
    "Start",
    "Waiter",
    "numbers",
    "occupy",
    "picture",
    "send",
    "warmed",
]

PATIENCE_S = 20
BAD = 255

Pixels = npt.NDArray[np.uint8]
Start = Callable[..., Batcher]  # the fixture `start`


class Recorder:
    """An encoder that gives each picture its first pixel, keeps the sizes of its batches, and can be held.

    Pictures of `BAD` pixels make their whole batch fail.

    Attributes:
        meeting: where it is set, batches end together, as many as it has parties.
    """

    def __init__(self, *, seconds_a_picture: float = 0.0) -> None:
        self.sizes: list[int] = []
        self.firsts: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Semaphore(0)
        self.meeting: threading.Barrier | None = None
        self._pace = seconds_a_picture

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        self.sizes.append(len(pixels))
        firsts = pixels[:, 0, 0, 0]
        self.firsts.append(firsts.tolist())
        self.entered.release()
        assert self.free.wait(PATIENCE_S)
        if self.meeting:
            self.meeting.wait(PATIENCE_S)
        time.sleep(self._pace * len(pixels))
        if (firsts == BAD).any():
            raise BundleError("It gave NaN.")
        return firsts[:, None].astype(np.float32)


class Elsewhere:
    """A source whose pictures are decoded elsewhere; it keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def undecoded(self) -> Undecoded:
        return NONE_UNDECODED

    def decode_one(self) -> bool:
        return False

    def make_room(self) -> None:
        self.heard.append("room")

    def give_up(self, why: str) -> None:
        self.heard.append(why)


class Waiter:
    """A job, and who waits for it."""

    def __init__(self, count: int) -> None:
        self.done = threading.Event()
        self.settled = 0
        self.job = Job([b"xx"] * count, settled=self._note, done=lambda job: self.done.set())

    def _note(self, size: int) -> None:
        assert size == 2
        self.settled += 1

    def results(self) -> list[Result]:
        assert self.done.wait(PATIENCE_S)
        return self.job.results()


def picture(value: int) -> Pixels:
    return np.full((2, 2, 1), value, np.uint8)


def send(batcher: Batcher, *values: int) -> Waiter:
    """Put a job's pictures, of these pixels."""
    waiter = Waiter(len(values))
    for position, value in enumerate(values):
        batcher.put(waiter.job, position, picture(value))
    return waiter


def occupy(encoder: Recorder, batcher: Batcher, *values: int) -> Waiter:
    """Put a job's pictures, and return when the encoder has the first and holds it until it is free."""
    encoder.free.clear()
    waiter = send(batcher, *values)
    assert encoder.entered.acquire(timeout=PATIENCE_S)
    return waiter


def warmed(encoder: Recorder, batcher: Batcher) -> None:
    """Encode until batches may be large, and let the encoder forget them."""
    send(batcher, *range(32)).results()
    while encoder.entered.acquire(blocking=False):
        pass
    encoder.sizes.clear()
    encoder.firsts.clear()


def numbers(results: list[Result]) -> list[float]:
    return [float(result[0]) for result in results if not isinstance(result, Exception)]
