"""The check that compares a collection's record with its checksums while it is served."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from service.errors import DamageError
from service.gallery.checking import Findings
from service.gallery.damage import RESTORE, DamagedRows, kept_files
from service.gallery.index.accelerator import Stopped
from service.gallery.indexing import Integrity
from service.gallery.opened import ask_for_check
from service.gallery.store import Record

__all__ = ["Scrub"]

_NAMED = 100
_PAUSES = 3  # times as long as it reads, it lets others read

_logger = logging.getLogger(__name__)


class Scrub:
    """Checks a record while it is read and written, and remembers what was found."""

    def __init__(
        self,
        record: Record,
        path: Path,
        findings: Findings | None,
        mended: Callable[[], None],
        leave_out: Callable[[DamagedRows], None],
    ) -> None:
        """Begin.

        Args:
            record: to check.
            path: of it.
            findings: of the check when it was opened, if there was one.
            mended: called where SQLite's indexes were wrong, and so may be what was read from them.
            leave_out: goes past damaged rows from then on.
        """
        self._record, self._path, self._mended, self._leave_out = record, path, mended, leave_out
        self._findings, self._rows = findings, findings.rows if findings else 0
        self.checked_s = time.time() if findings else None

    @property
    def integrity(self) -> Integrity:
        """Return how the record stands."""
        findings = self._findings or Findings()
        present = self._record.present(findings.pictures) if findings.pictures else set()
        damaged: dict[int, str | None] = {
            label: name for label, name in findings.pictures.items() if label in present
        }
        damaged |= {label: name for label, (name, _) in self._record.damaged.items()}
        state: Literal["unchecked", "ok", "damaged"] = "ok" if self._findings else "unchecked"
        problem = None
        if findings.structure:
            problem = f"{findings.structure[0]}. The next start of the server mends it; or {RESTORE}."
        elif damaged:
            problem = f"Delete the damaged items or enrol them again; or {RESTORE}.{self._kept()}"
        return Integrity(
            state="damaged" if damaged or findings.structure else state,
            checked_s=self.checked_s,
            rows_checked=self._rows,
            damaged=tuple(name for _, name in sorted(damaged.items()) if name is not None)[:_NAMED],
            damaged_items=len(damaged),
            problem=problem,
        )

    def _kept(self) -> str:
        """Return a sentence on where the record is as it was before items were lost, if it is there."""
        files = [file.name for file in kept_files(self._path) if file.exists()]
        return f" The record as it was is kept beside it: {', '.join(files)}." if files else ""

    def run(self, stop: threading.Event) -> None:
        """Compare all with its checksums, in small pieces; SQLite's indexes are mended.

        Raises:
            Stopped: it was told to stop.
            StorageError: the disk refused.
        """

        def go_on() -> None:
            if stop.is_set():
                raise Stopped

        try:
            findings = self._record.checker.findings(go_on, self._pacer(stop))
            self._rows = findings.rows
        except DamageError as error:
            self._record.refuse_if_closed()
            findings = Findings(structure=[str(error)])
        if findings.structure and not findings.damaged and self._indexes_mended(findings, go_on):
            self._mended()
        if not findings.sound:
            if findings.structure:
                said = "; ".join(findings.structure)
                _logger.error("%s is damaged: %s. The next start of the server mends it.", self._path, said)
            ask_for_check(self._path)
            self._leave_out({label: (name, None) for label, name in findings.damaged.items()})
        self._findings, self.checked_s = findings, time.time()

    def _indexes_mended(self, findings: Findings, go_on: Callable[[], None]) -> bool:
        """Make SQLite's indexes anew, from rows that are right, and return whether that was all there was."""
        try:
            self._record.checker.reindex(go_on)
            findings.structure[:] = self._record.checker.structure(go_on)
        except DamageError:
            return False
        if findings.structure:
            return False
        _logger.warning("%s: its indexes were damaged, and are made anew; no item was.", self._path)
        return True

    def _pacer(self, stop: threading.Event) -> Callable[[Findings], None]:
        """Return what waits between two readings, longer than they took; it raises Stopped where told to."""
        began, known = time.monotonic(), 0

        def pause(findings: Findings) -> None:
            nonlocal began, known
            self._rows = findings.rows
            if len(findings.damaged) > known:  # not when all is read, which takes hours
                known = len(findings.damaged)
                self._leave_out({label: (name, None) for label, name in findings.damaged.items()})
            if stop.wait(_PAUSES * (time.monotonic() - began)):
                raise Stopped
            began = time.monotonic()

        return pause
