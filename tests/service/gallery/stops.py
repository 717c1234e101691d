"""Somebody who wants something stopped after it asked some times."""

import threading

from service.gallery.index.accelerator import Work

__all__ = ["StopAfter"]


class StopAfter(threading.Event):
    """An event that is set from the moment at which it was asked some times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def is_set(self) -> bool:
        self._left -= 1
        if self._left < 0:
            self.set()
        return super().is_set()

    @property
    def work(self) -> Work:
        return Work(1, self, lambda done, total: None)
