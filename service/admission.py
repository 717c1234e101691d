"""How many pictures may wait for an encoder, and which come too late to wait at all."""

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.errors import OverloadedError, TooLargeError
from service.pace import Pace
from service.telemetry import Telemetry

__all__ = ["Admission", "WaitingLimits"]

# Of the time that a request has left, what others may take before it has its turn. The rest is for its own
# pictures, and for how far an estimate may be off.
_SHARE = 1 / 3
_LONGEST_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class WaitingLimits:
    """What may have been admitted and not be answered yet.

    Attributes:
        images, bytes: pictures, and the bytes of their files.
    """

    images: int
    bytes: int


class Admission:
    """Counts what was admitted and is not settled; a request is admitted whole or not at all.

    Args:
        name: the encoder's.
        limits: of what waits.
        pace: how fast pictures are encoded.
        requests: returns how many have turns now.
        telemetry: where it is noted, under the encoder's name.

    Attributes:
        images: admitted and not settled.
    """

    def __init__(
        self,
        name: str,
        *,
        limits: WaitingLimits,
        pace: Pace,
        requests: Callable[[], int],
        telemetry: Telemetry,
    ) -> None:
        self._name, self._limits, self._pace = name, limits, pace
        self._requests, self._telemetry = requests, telemetry
        self.images = self._bytes = 0  # under the lock
        self._lock = threading.Lock()
        metrics = telemetry.of_encoder(name)
        metrics.waiting_images.set_function(lambda: self.images)
        metrics.waiting_bytes.set_function(lambda: self._bytes)
        metrics.expected_wait.set_function(lambda: self.images * pace.seconds)

    def wait_before(self, images: int = 1) -> float:
        """Return how many seconds other pictures take before a request with so many has all its turns.

        Requests have turns: before one with a single picture there is at most one of each of the others.
        """
        return min(self.images, images * self._requests()) * self._pace.seconds

    def refuse_late(self, deadline: float, images: int = 1) -> None:
        """Refuse pictures where others take a third of the time that is left, and say when to come back.

        Args:
            deadline: by the event loop's clock; infinity for none.
            images: of the request.

        Raises:
            OverloadedError: so much is waiting already.
        """
        if deadline == math.inf:
            return
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        wait = self.wait_before(images)
        if wait > _SHARE * left:
            self._telemetry.rejected(self._name, "too_late", images)
            raise OverloadedError(
                f"About {wait:.1f} seconds of other pictures come before these, too much for a deadline in "
                f"{left:.1f} seconds. Give it more time, or try again shortly.",
                retry_after_s=_whole_seconds(wait - _SHARE * left),
            )

    def admit(self, files: Sequence[bytes]) -> None:
        """Count a request's pictures, which then wait.

        Raises:
            TooLargeError: more than may ever wait.
            OverloadedError: too much is waiting already.
        """
        count, size, limits = len(files), sum(map(len, files)), self._limits
        if count > limits.images or size > limits.bytes:
            self._telemetry.rejected(self._name, "too_many", count)
            raise TooLargeError(
                f"{count:,} pictures of {size:,} bytes came at once; at most {limits.images:,} "
                f"(LOOKALIKE_MAX_WAITING_IMAGES) of {limits.bytes:,} bytes "
                "(LOOKALIKE_MAX_WAITING_BYTES) are taken. Send them in several requests."
            )
        with self._lock:
            waiting = self.images
            if waiting + count <= limits.images and self._bytes + size <= limits.bytes:
                self.images += count
                self._bytes += size
                return
        self._telemetry.rejected(self._name, "queue_full", count)
        raise OverloadedError(
            f"{waiting:,} pictures are waiting and {count:,} more would exceed the limit of "
            f"{limits.images:,}, or that of {limits.bytes:,} bytes. Try again shortly, "
            "or send fewer at once.",
            retry_after_s=_whole_seconds(min(count, waiting) * self._pace.seconds),
        )

    def release(self, size: int) -> None:
        """Take a settled picture off the count.

        Args:
            size: of its file, in bytes.
        """
        with self._lock:
            self.images -= 1
            self._bytes -= size


def _whole_seconds(wait: float) -> int:
    """Return when to come back, as Retry-After has it."""
    return min(_LONGEST_RETRY_S, max(1, math.ceil(wait)))
