"""Ctrl-C and SIGTERM as a wish to end after the step, with nothing lost."""

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["Stop"]


class Stop:
    """Takes note, while it is entered, of Ctrl-C and SIGTERM; a second Ctrl-C ends at once.

    Signals reach the main thread only: in another, nothing is changed.

    Attributes:
        asked: the number of the signal to end by; 0 before one came.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: what was there was not set from Python, and cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = self.asked or number
