"""Copies of records: each as of one moment, and compared with its checksums."""

import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from service.errors import DamageError, StorageError
from service.gallery.checking import Checker, Findings
from service.gallery.damage import refuse_missing, restore_advice, writable
from service.gallery.index.accelerator import Stopped
from service.gallery.record_meta import count_of, read_config, read_damaged
from service.gallery.sqlite import Database, refused_by_disk

__all__ = ["compared", "copy_as_of_now"]

_logger = logging.getLogger(__name__)

_INSTRUCTIONS = 1_000  # of SQLite's, between two looks at whether to stop: some hundred rows


def copy_as_of_now(source: Path, target: Path, go_on: Callable[[], None]) -> None:
    """Copy a record as of one moment.

    Args:
        source: the record, which others may use.
        target: the copy; must not be there.
        go_on: called often; whatever it raises ends it.

    Raises:
        DamageError: it is missing, or SQLite cannot read it; says what to do.
        StorageError: the disk refused.
    """

    def stopped() -> bool:
        try:
            go_on()
        except Stopped:
            return True
        return False

    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.set_progress_handler(stopped, _INSTRUCTIONS)
            connection.execute("VACUUM INTO ?", [str(target)])
    except (sqlite3.Error, UnicodeDecodeError) as error:  # UnicodeDecodeError: of a damaged schema
        go_on()  # which may have been why
        refuse_missing(source)
        if refused_by_disk(error):
            raise StorageError(
                f"{source}: {error}. Nothing was backed up: check the disk, and the room for {target.parent}."
            ) from error
        raise DamageError(f"{source}: {error}. {restore_advice(source)}") from error


def compared(
    copy: Path, source: Path, go_on: Callable[[], None], rest: Callable[[float], None]
) -> tuple[int, list[str | None]]:
    """Compare a copy of a record with its checksums.

    Args:
        copy: of the record.
        source: the record, for errors.
        go_on: called often; whatever it raises ends it.
        rest: called between pieces, with the seconds that the last one took.

    Returns:
        how many items can be read, and the ids, as far as they are known, of those that are damaged in it, or
        of which the picture is, and of those that were lost before.

    Raises:
        DamageError: rows are missing, or what it says of itself is damaged.
        StorageError: the disk refused, or it is of another version of this program.
    """
    with closing(Database(copy, read_only=True)) as database:
        with database.reading() as connection:
            config, items = read_config(connection, source), count_of(connection)
            lost = {label: writable(name) for label, (name, _) in read_damaged(connection).items()}
        findings = Checker(database, config).findings(go_on, _resting(go_on, rest))
    if findings.rows != items:
        raise DamageError(
            f"{source} holds {findings.rows} items where {items} were written; it is damaged. "
            f"{restore_advice(source)}"
        )
    damaged: dict[int, str | None] = {**findings.pictures, **findings.damaged, **lost}
    if findings.structure and not damaged:
        problem = findings.structure[0]
        _logger.warning("%s: %s. No item is lost by that; a server that opens it mends it.", source, problem)
    return items - len(findings.damaged), [name for _, name in sorted(damaged.items())]


def _resting(go_on: Callable[[], None], rest: Callable[[float], None]) -> Callable[[Findings], None]:
    """Return what is done between two pieces of a comparison."""
    began: float | None = None

    def told(_: Findings) -> None:
        nonlocal began
        go_on()
        if began is not None:
            rest(time.monotonic() - began)
        began = time.monotonic()

    return told
