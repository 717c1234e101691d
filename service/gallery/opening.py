"""Opening a gallery's collections one after the other, at once or while the server answers already."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass

from models.errors import LookalikeError
from service.errors import DamageError, OpeningError, StorageError
from service.gallery.index.accelerator import Stopped, Work

__all__ = ["Opening", "Outcome", "Progress"]

_TOLD_EVERY_S = 10.0
_OURS = "The fault is ours, and the log has it."

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
        opened: collections that are open, of those that there were.
        collections: how many there were.
        collection: which is being opened.
        rows_read: of its record; of what its snapshot has none are read.
        rows: how many have to be read; 0 while its snapshot is checked.
    """

    opened: int
    collections: int
    collection: str
    rows_read: int = 0
    rows: int = 0

    def __str__(self) -> str:
        """Return it as a sentence without its end."""
        step = (
            f"{self.rows_read:,} of {self.rows:,} rows are read" if self.rows else "its snapshot is checked"
        )
        return f"{self.opened} of {self.collections} collections are open, and of {self.collection!r} {step}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many collections were opened, and the names of those that could not be."""

    opened: int
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as what stands behind "Collections: "."""
        return f"{self.opened}; not opened: {', '.join(self.failed)}" if self.failed else f"{self.opened}"


class Opening:
    """The collections that are still to be opened. What asks for them may be asked by any thread."""

    def __init__(
        self,
        open_one: Callable[[str, Work], int],
        *,
        threads: int,
        told_every_s: float = _TOLD_EVERY_S,
    ) -> None:
        """Begin nothing yet.

        Args:
            open_one: opens one, and returns how many items it has.
            threads: that it may use.
            told_every_s: how often the log says how far one collection is, which takes longer.
        """
        self._open_one, self._told_every_s = open_one, told_every_s
        self._waiting: dict[str, None] = {}
        self._work = Work(threads, threading.Event(), self._note)
        self._progress = Progress(0, 0, "")
        self._failure = ""
        self._failed: dict[str, StorageError] = {}
        self._told_s = 0.0
        self._thread: threading.Thread | None = None

    def expect(self, names: Sequence[str]) -> None:
        """Take note of what is to be opened, in this order."""
        self._waiting = dict.fromkeys(names)
        self._progress = Progress(0, len(names), next(iter(names), ""))

    def __contains__(self, name: str) -> bool:
        """Return whether a collection is still to be opened."""
        return name in self._waiting

    @property
    def waiting(self) -> list[str]:
        """Return the names of those that are still to be opened."""
        return list(self._waiting)

    @property
    def failed(self) -> dict[str, StorageError]:
        """Return why collections could not be opened, by name; whoever removes one may take it out."""
        return self._failed

    def refusal(self, name: str | None = None) -> OpeningError:
        """Return the error for who asks for one of them, or for all."""
        what = "Not all collections are open yet" if name is None else f"{name!r} is not open yet"
        why = self._failure or f"{self._progress}. Try again shortly."
        return OpeningError(f"{what}: {why}", asdict(self._progress))

    def refuse_failed(self, name: str) -> None:
        """Raise StorageError where a collection could not be opened, DamageError where it is damaged."""
        if error := self._failed.get(name):
            kind = DamageError if isinstance(error, DamageError) else StorageError
            raise kind(f"The collection {name!r} could not be opened. {error}")

    def run(self) -> None:
        """Open all but those that cannot be opened.

        Raises:
            Stopped: it was told to stop.
        """
        names = self.waiting
        for i, name in enumerate(names):
            self._work.go_on()
            began = self._told_s = time.monotonic()
            self._progress = Progress(i, len(names), name)
            place = f"collection {name} ({i + 1} of {len(names)})"
            try:
                items = self._open_one(name, self._work)
            except StorageError as error:  # the others are served
                self._failed[name] = error
                _logger.error("%s cannot be opened: %s", place, error)
            else:
                _logger.info("opened %s: %d items in %.1f s", place, items, time.monotonic() - began)
            del self._waiting[name]

    def start(self, outcome: "Future[Outcome]") -> None:
        """Open all in a thread; what came of it is the outcome's, which `stop` cancels."""
        self._thread = threading.Thread(target=self._run, args=[outcome], name="gallery-opening", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it within a moment, and wait for that."""
        self._work.stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, outcome: "Future[Outcome]") -> None:
        count = len(self._waiting)
        try:
            self.run()
            failed = tuple(self._failed)  # of which some may be dropped already
            outcome.set_result(Outcome(count - len(failed), failed))
        except Stopped:
            outcome.cancel()
        except Exception as error:  # handed to whoever looks at the outcome
            self._failure = str(error) if isinstance(error, LookalikeError) else _OURS
            _logger.error("%s", error, exc_info=not isinstance(error, LookalikeError))
            outcome.set_exception(error)

    def _note(self, done: int, total: int) -> None:
        progress = self._progress
        self._progress = Progress(progress.opened, progress.collections, progress.collection, done, total)
        now = time.monotonic()
        if now - self._told_s >= self._told_every_s:
            self._told_s = now
            _logger.info("opening: %s", self._progress)
