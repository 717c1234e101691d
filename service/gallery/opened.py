"""Opening a record and its index: what is damaged is mended first."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.errors import DamageError
from service.gallery.checking import Findings
from service.gallery.collection import CollectionConfig
from service.gallery.config_copy import keep_config
from service.gallery.damage import refuse_missing
from service.gallery.first_page import is_sound
from service.gallery.folders import refusals
from service.gallery.index.accelerator import Work
from service.gallery.index.home import IndexHome
from service.gallery.index.segments import Index
from service.gallery.mending import mend
from service.gallery.store import Record

__all__ = ["Opened", "ask_for_check", "opened"]

_CHECKED_BYTES = 32 * 2**20  # of a record: up to so many are read at the start, in half a second


@dataclass(frozen=True, slots=True)
class Opened:
    """A record, its index, and what was found when the record was checked; None where it was not."""

    record: Record
    home: IndexHome
    index: Index
    findings: Findings | None


def opened(path: Path, home_of: Callable[[CollectionConfig], IndexHome], work: Work | None = None) -> Opened:
    """Open a record and load its index; a record that is damaged is mended, as far as it can be.

    A small record is checked whole first, and so is one that a check found damaged while it was served.
    Others are checked in the background.

    Args:
        path: of the record.
        home_of: returns where the index of a configuration lives.
        work: is told of the rows as they are read, and may stop that.

    Raises:
        DamageError: it is missing, or cannot be mended; says what to do.
        StorageError: the disk refused, or it is of another version of this program.
        Stopped: it was told to stop.
    """
    refuse_missing(path)  # of nothing nothing is mended
    try:
        return _opened(path, home_of, work)
    except DamageError:
        mend(path, work.go_on if work else _go_on)
        return _opened(path, home_of, work)


def ask_for_check(path: Path) -> None:
    """Have a record checked, and mended, when it is opened next."""
    with refusals(path.parent):
        _mark(path).touch()


def _opened(path: Path, home_of: Callable[[CollectionConfig], IndexHome], work: Work | None) -> Opened:
    with refusals(path.parent):
        if not is_sound(path):
            raise DamageError(f"{path} is damaged.")
    record = Record(path)
    try:
        findings, go_on = None, work.go_on if work else _go_on
        with refusals(path.parent):
            if path.stat().st_size <= _CHECKED_BYTES or _mark(path).exists():
                findings = record.checker.findings(go_on)
                if not findings.sound:
                    raise DamageError(f"{path} is damaged.")
            home = home_of(record.config)
            index = home.load(record.labels(go_on), record.scan, work)
            record.checker.reserve_labels(index.last_label)
            _mark(path).unlink(missing_ok=True)
            keep_config(path, record.config)
        return Opened(record, home, index, findings)
    except BaseException:
        record.close()
        raise


def _go_on() -> None:
    """Let it go on; nobody may stop it."""


def _mark(path: Path) -> Path:
    return path.with_name("check-at-start")
