"""How fast an encoder is, as measured while it has work: what turns a queue's length into a time."""

import time

__all__ = ["Pace"]

_REMEMBERED = 256  # pictures; older ones count for less and less


class Pace:
    """Seconds a picture, from its decoding to its embedding, of the last few hundred under load.

    Not safe for several threads: one notes, and others read one number.

    Attributes:
        seconds: of one picture among others; 0 until the first was encoded.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._count = self._took = 0.0
        self._last = 0.0

    def note(self, count: float, came: float) -> None:
        """Take note of a batch that was encoded just now.

        The time since the batch before counts, as far as somebody waited: what the encoder waits for the
        decoders, or for a processor that others use, makes pictures wait as well.

        Args:
            count: its pictures; of one that was divided into crops, the share.
            came: when the first of them was admitted, by `time.perf_counter`.
        """
        now = time.perf_counter()
        keep = (1 - 1 / _REMEMBERED) ** count
        self._took = keep * self._took + now - max(came, self._last)
        self._count = keep * self._count + count
        self._last = now
        self.seconds = self._took / self._count
