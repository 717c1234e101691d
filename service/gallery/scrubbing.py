"""A thread that compares collections with their checksums, one after the other, now and then."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable

from service.cpus import stand_back
from service.errors import CollectionDroppedError, NotReadyError, StorageError
from service.gallery.embedded import EmbeddedCollection
from service.gallery.index.accelerator import Stopped

__all__ = ["Scrubbing"]

_STEPS_BACK = 15  # of `nice`: behind those who answer, and those who seal
_LOOKS_EVERY_S = 60.0

_logger = logging.getLogger(__name__)


class Scrubbing:
    """A thread apart from the upkeep's: what is sealed must not wait for what is read through."""

    def __init__(self, collections: Callable[[], Iterable[EmbeddedCollection]], *, every_s: float) -> None:
        """Begin.

        Args:
            collections: returns those that there are now.
            every_s: seconds from one check of a collection to the next.
        """
        self._collections, self._every_s = collections, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="gallery-scrub", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until what is being checked was given up: a moment."""
        self._stop.set()
        self._thread.join()

    def _live(self) -> None:
        stand_back(threading.get_native_id(), _STEPS_BACK)
        while not self._stop.is_set():
            for collection in self._collections():
                last = collection.scrub.checked_s
                if self._stop.is_set():
                    return
                if last is None or time.time() - last >= self._every_s:
                    self._check(collection)
            self._stop.wait(_LOOKS_EVERY_S)

    def _check(self, collection: EmbeddedCollection) -> None:
        try:
            with contextlib.suppress(Stopped, CollectionDroppedError, NotReadyError):
                collection.scrub.run(self._stop)
        except StorageError as error:
            _logger.warning("%s could not be checked: %s", collection.name, error)
        except Exception:  # the others are checked all the same
            _logger.exception("%s could not be checked.", collection.name)
