"""What readers ask of a disk, and how they say what is missing."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from models.datasets.samples import NOBODY
from models.errors import DatasetError

__all__ = [
    "SUFFIXES",
    "dataset_name",
    "folders_in",
    "inside",
    "pictures_in",
    "read_lines",
    "refuse_absent",
    "refuse_repeats",
    "refuse_shared",
    "refuse_split",
    "some",
]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def dataset_name(folder: Path) -> str:
    """Return the name that a folder's dataset goes by, never its path."""
    return folder.resolve().name


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted; hidden ones are some program's, not the dataset's.

    Raises:
        DatasetError: it cannot be read.
    """
    return [folder / name for name in _names(folder, want_folders=True)]


def pictures_in(folder: Path) -> list[Path]:
    """Return the files of a folder that are named as pictures, sorted; hidden ones are left out.

    Raises:
        DatasetError: it cannot be read.
    """
    names = _names(folder, want_folders=False)
    return [folder / name for name in names if name.lower().endswith(tuple(SUFFIXES))]


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines of a text in UTF-8, with any line ends and without blank lines at its end.

    Args:
        path: the file.
        what: what needs it, for the message.

    Raises:
        DatasetError: it is not there, is no such text, or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise DatasetError(f"There is no {path.name} in {path.parent}; {what} needs it.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}). It must be a text in UTF-8.") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DatasetError(f"{path} is empty; {what} needs it. Fetch it again.")
    return lines


def inside(folder: Path, name: str, where: str) -> Path:
    """Return folder/name.

    Raises:
        DatasetError: the name leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(f"{where} names {name!r}, which is not inside the folder.")
    return folder / path


def refuse_absent(paths: Sequence[Path], what: str) -> None:
    """Refuse pictures that are listed and not there, `what` being whose they are.

    Raises:
        DatasetError: how many of how many, and the first.
    """
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise DatasetError(
            f"{len(absent):,} of {len(paths):,} pictures of {what} are not there, first {some(absent)}."
        )


def refuse_repeats(table: Path, entries: Iterable[object], what: str = "picture(s)") -> None:
    """Refuse a list that names something twice: a picture would be its own positive.

    Raises:
        DatasetError: how many, and the first.
    """
    repeated = [entry for entry, count in Counter(entries).items() if count > 1]
    if repeated:
        raise DatasetError(f"{table} lists {len(repeated):,} {what} more than once, first {some(repeated)}.")


def refuse_shared(where: Path, identities: Iterable[tuple[str, str]]) -> None:
    """Refuse identities that are trained on and tested on: the figures would mean nothing.

    Args:
        where: the table or folder, for the message.
        identities: (identity, split) of every picture.

    Raises:
        DatasetError: how many, and the first.
    """
    split_of: dict[str, str] = {}
    shared = sorted(
        {identity for identity, split in identities if split_of.setdefault(identity, split) != split}
        - {NOBODY}
    )
    if shared:
        raise DatasetError(
            f"{where} has {len(shared):,} identities in more than one split, first {some(shared)}. "
            "Keep each in one."
        )


def refuse_split(folder: Path, split: str, splits: Iterable[str]) -> None:
    """Refuse a split that a form does not have.

    Raises:
        DatasetError: which ones it has.
    """
    known = tuple(splits)
    if split not in known:
        raise DatasetError(f"{folder} has no split {split!r}; ask for {' or '.join(known) or 'none'}.")


def some(things: Sequence[object]) -> str:
    """Return the first three for a message."""
    return ", ".join(str(thing) for thing in things[:3])


def _names(folder: Path, *, want_folders: bool) -> list[str]:
    """Return the sorted names of what a folder holds: its folders, or its files."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and (entry.is_dir() if want_folders else entry.is_file())
            )
    except OSError as error:
        raise DatasetError(f"The folder {folder} cannot be read: {error.strerror}.") from error
