"""What a gallery does beside answering: it takes care of what was written, one collection after the other."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable

from service.cpus import stand_back
from service.errors import CollectionDroppedError, NotReadyError, StorageError
from service.gallery.embedded import EmbeddedCollection
from service.gallery.index.accelerator import Stopped

__all__ = ["Upkeep"]

_STEPS_BACK = 10  # of `nice`: a tenth of the share of a thread that answers
_IDLE_S = 3.0  # without a write: what is new is sealed even where that is little
_AFTER_REFUSAL_S = 30.0

_logger = logging.getLogger(__name__)


class Upkeep:
    """Two threads: one seals collections as they are written to, one makes what is new fast meanwhile."""

    def __init__(self, collections: Callable[[], Iterable[EmbeddedCollection]], *, threads: int) -> None:
        """Begin.

        Args:
            collections: returns those that there are now.
            threads: that a build may use.
        """

        def seal(collection: EmbeddedCollection, stop: threading.Event, idle: bool) -> bool:
            began, erasing = time.monotonic(), collection.erasing
            if collection.seal(threads=threads, stop=stop, idle=idle):
                _logger.info("sealed %s in %.1f s", collection.name, time.monotonic() - began)
            return erasing

        def catch_up(collection: EmbeddedCollection, stop: threading.Event, idle: bool) -> bool:
            if not idle and collection.catch_up(stop):
                _logger.debug("caught up with %s", collection.name)
            return False

        self._tasks = (
            _Task(collections, seal, done="sealed", name="gallery-sealing"),
            _Task(collections, catch_up, done="caught up with", name="gallery-catching-up"),
        )

    def written(self) -> None:
        """Look soon: something was written."""
        for task in self._tasks:
            task.written()

    def close(self) -> None:
        """Stop, and wait until what is being built was given up."""
        for task in self._tasks:
            task.stop()
        for task in self._tasks:
            task.join()


class _Task:
    """A thread that does something for each collection after it was written to.

    To seal takes minutes, and what comes meanwhile should not wait for it: so each task has its own.
    """

    def __init__(
        self,
        collections: Callable[[], Iterable[EmbeddedCollection]],
        do: Callable[[EmbeddedCollection, threading.Event, bool], bool],
        *,
        done: str,
        name: str,
    ) -> None:
        """Begin.

        Args:
            collections: returns those that there are now.
            do: does it and returns whether something was left that may be possible later; is told when to
                stop, and whether nothing was written for a while.
            done: the participle of it, for the log.
            name: of the thread.
        """
        self._collections, self._do, self._done = collections, do, done
        self._stop = threading.Event()
        self._changed = threading.Condition()
        # On the monotonic clock; None where all was looked at since.
        self._written_s: float | None = None
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def written(self) -> None:
        """Look soon: something was written."""
        with self._changed:
            self._written_s = time.monotonic()
            self._changed.notify()

    def stop(self) -> None:
        """Stop within a moment."""
        self._stop.set()
        with self._changed:
            self._changed.notify()

    def join(self) -> None:
        """Wait until it has."""
        self._thread.join()

    def _live(self) -> None:
        stand_back(threading.get_native_id(), _STEPS_BACK)
        while not self._stop.is_set():
            since = self._written_s
            idle = since is not None and time.monotonic() - since >= _IDLE_S
            refused = self._look(idle=idle)
            with self._changed:
                if idle and not refused and self._written_s == since:
                    self._written_s = None
                if self._written_s == since and not self._stop.is_set():
                    self._changed.wait(_AFTER_REFUSAL_S if refused else self._until_idle())

    def _until_idle(self) -> float | None:
        """Return seconds until nothing will have been written for a while; None where nothing is awaited."""
        if self._written_s is None:
            return None
        return max(0.0, self._written_s + _IDLE_S - time.monotonic())

    def _look(self, *, idle: bool) -> bool:
        """Do what is due, and return whether something was left, as where the disk refused it."""
        refused = False
        for collection in self._collections():
            if self._stop.is_set():
                break
            try:
                with contextlib.suppress(Stopped, CollectionDroppedError, NotReadyError):
                    refused |= self._do(collection, self._stop, idle)
            except StorageError as error:
                refused = True
                _logger.warning(
                    "%s is not %s; it is searched as before: %s", collection.name, self._done, error
                )
            except Exception:  # the next one has its turn all the same; what is not sealed is scanned
                refused = True
                _logger.exception(
                    "%s could not be %s; it is searched as before.", collection.name, self._done
                )
        return refused
