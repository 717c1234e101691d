"""Damage: what a record holds that was not written, and what to do about it."""

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from service.errors import DamagedItemError, DamageError

__all__ = [
    "RESTORE",
    "DamagedRows",
    "damaged_item",
    "kept_files",
    "of_identity",
    "refuse_damaged",
    "refuse_missing",
    "refuse_unordered",
    "restore_advice",
    "writable",
]

RESTORE = "restore a backup (lookalike restore BACKUP NEW_DATA_DIR)"

DamagedRows: TypeAlias = Mapping[int, tuple[str | None, str | None]]  # by label: id and identity, where known


def kept_files(path: Path) -> list[Path]:
    """Return where a record that lost rows may stay as it was, the first one first; erasing removes them."""
    return [path.with_name(f"{path.name}.damaged{number}") for number in ("", ".2", ".3")]


def restore_advice(path: Path) -> str:
    """Return what to do where a record cannot be read."""
    return (
        f"Stop the server, move the folder {path.parent} elsewhere, put collections/{path.parent.name} of a "
        f"backup in its place and start it again; or {RESTORE}."
    )


def refuse_missing(path: Path) -> None:
    """Raise DamageError where a record is not there, which whoever asks again later finds as it is."""
    try:
        path.stat()
    except FileNotFoundError as error:
        raise DamageError(f"{path} is missing. {restore_advice(path)}") from error
    except OSError:  # the disk refused: whoever reads it hears that
        return


def refuse_unordered(path: Path, what: str, places: Iterable[Any]) -> None:
    """Raise DamageError where the places of a page, behind its cursor, do not grow: the next one leads back.

    Args:
        path: of the record.
        what: is listed.
        places: the cursor, and the label or name of each; damage may have made it another type.
    """
    if any(type(one) is not type(after) or after <= one for one, after in pairwise(places)):
        raise DamageError(
            f"{path}: its {what} are out of order. The check in the background mends that, or the next "
            f"start of the server; or {RESTORE}."
        )


def damaged_item(path: Path, item_id: str | None, label: int) -> DamagedItemError:
    """Return the error of a request that needs a damaged row."""
    named = "an item whose id is lost" if item_id is None else f"the item {item_id!r}"
    return DamagedItemError(
        f"{path}: {named} (label {label}) is damaged; delete it and enrol it again, or {RESTORE}.",
        label=label,
        item_id=item_id,
    )


def of_identity(damaged: DamagedRows, identity: str) -> DamagedRows:
    """Return which of some rows are an identity's, or may be, where it is not known whose they are."""
    return {label: row for label, row in damaged.items() if row[1] in (None, identity)}


def refuse_damaged(path: Path, damaged: DamagedRows, ids: Collection[str]) -> None:
    """Raise DamagedItemError where one of these ids is a damaged row's."""
    for label, (item_id, _) in damaged.items():
        if item_id in ids:
            raise damaged_item(path, item_id, label)


def writable(name: object) -> str | None:
    """Return what is left of an id or an identity, as text that any file takes: what is none in it is "?"."""
    return None if name is None else str(name).encode(errors="replace").decode()
