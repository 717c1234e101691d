"""Mending a damaged record: made anew of the rows that are as they were written; the others are named."""

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.errors import DamageError, StorageError
from service.gallery.collection import CollectionConfig
from service.gallery.config_copy import config_file, kept_config
from service.gallery.damage import RESTORE, DamagedRows, kept_files, restore_advice
from service.gallery.first_page import readable
from service.gallery.folders import refusals, sync_folder
from service.gallery.record_meta import config_of, create_tables
from service.gallery.salvage import Salvage
from service.gallery.sqlite import connected, refused_by_disk
from service.gallery.stoppable import stoppable

__all__ = ["mend"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Lost:
    """The ids of what is lost, by label, and whether it is known what was lost before."""

    names: Mapping[int, str | None]
    before_is_known: bool

    @property
    def nothing(self) -> bool:
        return not self.names and self.before_is_known


def mend(path: Path, go_on: Callable[[], None]) -> None:
    """Make a record anew, in place, of what is right of it; nobody may have it open.

    Rows that are not as they were written are left out, and named in the new one. Labels stay: snapshots fit.

    Args:
        path: of the record.
        go_on: called often; whatever it raises, Stopped say, ends it, and the file stays as it is.

    Raises:
        DamageError: not even their names can be read, or the configuration and its copy; the file stays as it
            is.
        StorageError: the disk refused; likewise.
    """
    new = path.with_name(f"{path.name}.mended")
    with refusals(path.parent), _told(path):
        for file in (new, *_logs(new)):
            file.unlink(missing_ok=True)
        try:
            config = _config(path)
            with readable(path, config):
                lost = _made_anew(path, new, config, go_on)
            if any(file.exists() and file.stat().st_size for file in _logs(path)[:1]):
                raise DamageError(f"{path}: its log cannot be brought in. {restore_advice(path)}")
            kept = path if lost.nothing else _keep(path)
            _sync(new)
            for file in _logs(path):
                file.unlink(missing_ok=True)
            new.replace(path)
            sync_folder(path.parent)
        finally:
            new.unlink(missing_ok=True)
    _say(path, lost, kept)


def _say(path: Path, lost: _Lost, kept: Path) -> None:
    """Log what became of it, and where the file is as it was."""
    if lost.names:
        named = ", ".join(f"{name!r} (label {label})" for label, name in list(lost.names.items())[:100])
        _logger.error(
            "%s was damaged. %d items are lost: %s. The others were written anew; the file as it was is kept "
            "beside it, as %s. Delete the lost ones or enrol them again, or %s.",
            path,
            len(lost.names),
            named,
            kept.name,
            RESTORE,
        )
    else:
        _logger.warning("%s was damaged, and is made anew of its rows; no item was lost.", path)
    if not lost.before_is_known:
        _logger.error(
            "%s: which items were lost before can no longer be read; the file as it was is kept beside it, "
            "as %s.",
            path,
            kept.name,
        )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise what SQLite refuses in the block as a StorageError, or a DamageError."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if refused_by_disk(error):
            raise StorageError(f"{path}: {error}. Check the disk, then start again.") from error
        raise DamageError(
            f"{path}: {error}. It is damaged, and cannot be mended. {restore_advice(path)}"
        ) from error


def _config(path: Path) -> CollectionConfig:
    """Return the configuration as the record has it, or else the copy.

    Raises:
        DamageError: neither can be read.
    """
    config = None
    with contextlib.closing(connected(path, "rw")) as connection:
        try:
            config = config_of(dict(connection.execute("SELECT key, value FROM meta")))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if refused_by_disk(error):
                raise
    config = config or kept_config(path)
    if config is None:
        raise DamageError(
            f"{path} is damaged or not a collection's: its configuration cannot be read, nor the copy of it, "
            f"{config_file(path).name}. {restore_advice(path)}"
        )
    return config


def _made_anew(path: Path, new: Path, config: CollectionConfig, go_on: Callable[[], None]) -> _Lost:
    """Write the new file and return what is lost."""
    with (
        contextlib.closing(connected(path, "rw")) as source,
        contextlib.closing(connected(new, "rwc")) as target,
        stoppable(go_on, source, target),
    ):
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        target.execute("BEGIN")
        create_tables(target, config)
        copy = Salvage(path, source, target, config, go_on)
        copy.rows()
        expected = copy.expected
        lost: DamagedRows = {} if copy.found == expected else copy.lost()
        if copy.found + len(lost) != expected:
            raise DamageError(
                f"{path} holds {copy.found} items that can be read, and {expected} were written. "
                f"{restore_advice(path)}"
            )
        copy.pictures()
        copy.rest(lost)
        target.execute("COMMIT")
        return _Lost({label: name for label, (name, _) in lost.items()}, copy.lost_before is not None)


def _logs(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm", "journal")]


def _keep(path: Path) -> Path:
    """Keep the file as it is under a name that is free, or in place of the newest that was kept before."""
    kept = next((file for file in kept_files(path) if not file.exists()), None)
    if kept is None:
        kept = max(kept_files(path), key=lambda file: file.stat().st_mtime_ns)
        kept.unlink()
    try:
        os.link(path, kept)
    except OSError:  # a file system without links
        shutil.copyfile(path, kept)
    return kept


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
