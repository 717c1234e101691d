"""Erasing: what was deleted leaves no trace in any file, now or as soon as that can be."""

import logging
import threading
from collections.abc import Callable

from service.errors import StorageError
from service.gallery.record_writer import RecordWriter
from service.gallery.store import Record

__all__ = ["Eraser"]

_logger = logging.getLogger(__name__)


class Eraser:
    """Remembers that something is to be erased, in the record too, until no file holds anything of it.

    Attributes:
        sealing: held while a snapshot is made, which may hold what is erased.
    """

    def __init__(
        self,
        record: Record,
        *,
        write_turn: threading.Lock,
        wipe_index: Callable[[], None],
    ) -> None:
        """Go on with what the process before did not come to.

        Args:
            record: of the collection.
            write_turn: held by whoever commits.
            wipe_index: leaves nothing of what is dead in the files of the index.
        """
        self._record, self._wipe_index = record, wipe_index
        self.sealing, self._write_turn = threading.Lock(), write_turn
        self._wanted = int(record.unwiped())
        self._written_anew = 0  # what was wanted when the pages were

    @property
    def busy(self) -> bool:
        """Return whether files may still hold something."""
        return self._wanted > 0

    def begin(self, writer: RecordWriter) -> None:
        """Note, in the transaction that deletes, that it is to be erased."""
        writer.note_unwiped()
        self._wanted += 1

    def wiped(self) -> bool:
        """Do what `wipe` does; where the disk refuses say so in the log alone: the upkeep tries again."""
        try:
            return self.wipe()
        except StorageError as error:
            _logger.warning("what was erased may be in files yet, and is wiped later: %s", error)
            return False

    def wipe(self) -> bool:
        """Leave nothing of what is dead in any file; return whether that could be done at once.

        Raises:
            StorageError: the disk refused; to be done again.
        """
        if not self.sealing.acquire(blocking=False):
            return False  # whoever makes the snapshot wipes when that is done
        try:
            wanted = self._wanted
            self._wipe_index()
            if self._written_anew != wanted:  # once: each time puts a whole record into the log
                self._record.write_anew()
                self._written_anew = wanted
            if self._record.checkpoint():
                with self._write_turn:
                    if self._wanted == wanted:  # or somebody has erased something meanwhile
                        self._record.note_wiped()
                        self._wanted = self._written_anew = 0
        finally:
            self.sealing.release()
        return not self._wanted
