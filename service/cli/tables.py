"""Numbers and labels in .csv files: with or without a line of names, and with errors that name the line."""

import csv
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import click
import numpy as np
import numpy.typing as npt

__all__ = ["Layout", "Table", "read_label_column", "read_table"]

_LABEL_NAMES = ("label", "labels", "identity")

Line = tuple[int, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How .csv files are laid out, where they do not say it themselves.

    Attributes:
        header: whether the first line names the columns; None finds out.
        label_column: the name of the labels' column, or its number from 1; None takes the first that is
            named `label`, `labels` or `identity`.
    """

    header: bool | None = None
    label_column: str | None = None


class Table(NamedTuple):
    """The rows of a file, (N, D) float64, and their labels where it has a column of labels."""

    rows: npt.NDArray[np.float64]
    labels: list[str] | None


def read_table(path: Path, layout: Layout) -> Table:
    """Read rows of finite numbers, and the column of labels where there is one.

    Raises:
        ClickException: not a table; a cell that is no finite number; lines of different lengths; no such
            column; or a first line of which nobody can tell whether it holds names or numbers.
    """
    lines = _lines(path)
    first = _first(path, lines)
    names = first[1] if _names_columns(path, first[1], layout) else None
    if names is not None and "" in names[:1]:
        _fail(path, "the first column has no name. pandas writes its index so: write with index=False.")
    column = _label_column(path, first[1], names, layout.label_column)
    if column is not None and len(first[1]) == 1:
        _fail(path, "there are labels and no numbers beside them.")
    labels: list[str] | None = None if column is None else []
    values = array("d")
    count = 0
    for at, cells in _of_one_length(path, first, lines, skip_first=names is not None):
        if labels is not None and column is not None:
            labels.append(_label(path, at, cells.pop(column)))
        values.extend(_numbers(path, at, cells))
        count += 1
    if count == 0:
        _fail(path, "there is a line of names and no row below it. Without names, add --no-header.")
    return Table(np.frombuffer(values, dtype=np.float64).reshape(count, -1), labels)


def read_label_column(path: Path, layout: Layout) -> list[str]:
    """Read one column as labels: the only one, or the one that the layout or its name tells.

    Raises:
        ClickException: not a table, lines of different lengths, an empty label, or no such column.
    """
    lines = _lines(path)
    first = _first(path, lines)
    # Labels are words themselves, so only a known name shows that the first line holds names.
    named = _has_label_name(first[1], layout) if layout.header is None else layout.header
    column = _label_column(path, first[1], first[1] if named else None, layout.label_column)
    if column is None and len(first[1]) > 1:
        _fail(path, f"say which column holds the labels with --label-column; {_columns(first[1])}.")
    rows = _of_one_length(path, first, lines, skip_first=named)
    labels = [_label(path, at, cells[column or 0]) for at, cells in rows]
    if not labels:
        _fail(path, "there is a line of names and no label below it.")
    return labels


def _lines(path: Path) -> Iterator[Line]:
    """Yield the lines that are not blank, as their number and their stripped cells."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for cells in reader:
                stripped = [cell.strip() for cell in cells]
                if stripped not in ([], [""]):
                    yield reader.line_num, stripped
    except (UnicodeDecodeError, csv.Error) as error:
        message = f"{path} cannot be read as a table in UTF-8 with commas between its cells ({error})."
        raise click.ClickException(message) from error


def _first(path: Path, lines: Iterator[Line]) -> Line:
    first = next(lines, None)
    return first if first is not None else _fail(path, "the file is empty.")


def _of_one_length(path: Path, first: Line, rest: Iterable[Line], *, skip_first: bool) -> Iterator[Line]:
    """Yield the rows, as long as they have as many cells as the first line."""
    if not skip_first:
        yield first[0], list(first[1])
    for at, cells in rest:
        if len(cells) != len(first[1]):
            _fail(path, f"line {at} has {len(cells)} cells where line {first[0]} has {len(first[1])}.")
        yield at, cells


def _names_columns(path: Path, cells: list[str], layout: Layout) -> bool:
    """Return whether the first line names the columns: a label's name, or nothing but words.

    A line of words and numbers is taken for numbers, so that a mistyped number is an error and not a name.
    """
    if layout.header is not None:
        return layout.header
    if _has_label_name(cells, layout):
        return True
    position = _position(cells, layout.label_column)
    others = [cell for at, cell in enumerate(cells) if at != position]
    if len(others) > 2 and others == [str(at) for at in range(len(others))]:
        _fail(
            path,
            f"the first line, {', '.join(others[:3])}..., may be numbers or the names that pandas gives to "
            "columns. Add --header if they are names, --no-header if not.",
        )
    return bool(others) and not any(map(_has_numbers, others))


def _named(cells: list[str], wanted: str | None) -> int | None:
    """Return the column whose name is that of the labels."""
    if wanted is not None:
        return cells.index(wanted) if wanted in cells else None
    names = [cell.casefold() for cell in cells]
    return next((names.index(name) for name in _LABEL_NAMES if name in names), None)


def _has_label_name(cells: list[str], layout: Layout) -> bool:
    return any(_named(cells, name) is not None for name in (layout.label_column, None))


def _position(cells: list[str], wanted: str | None) -> int | None:
    """Return the column of a number that was typed."""
    if wanted is None or not wanted.isdecimal() or not 1 <= int(wanted) <= len(cells):
        return None
    return int(wanted) - 1


def _label_column(path: Path, first: list[str], names: list[str] | None, wanted: str | None) -> int | None:
    """Return the column of the labels, if there is one; one that was asked for must be there."""
    column = _named(names, wanted) if names is not None else None
    if column is None:
        column = _position(first, wanted)
    if column is None and wanted is not None:
        _fail(path, f"there is no column {wanted!r}; {_columns(names or first)}.")
    return column


def _columns(cells: list[str]) -> str:
    some = ", ".join(repr(cell) for cell in cells[:5])
    return f"its first line is {some}{', ...' if len(cells) > 5 else ''}"


def _numbers(path: Path, at: int, cells: list[str]) -> list[float]:
    try:
        row = [float(cell) for cell in cells]
    except ValueError:
        row = [math.nan]
    # float() reads 1_0 as ten: more likely an identity than a number.
    if any("_" in cell for cell in cells) or not all(map(math.isfinite, row)):
        _fail(path, f"line {at}: {_complaint(cells)}")
    return row


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _has_numbers(cell: str) -> bool:
    """Return whether a cell is a number, or several that are not separated by commas."""
    parts = cell.replace(";", " ").split()
    return bool(parts) and all(map(_is_number, parts))


def _complaint(cells: list[str]) -> str:
    """Say what is wrong with the first cell that is no finite number."""
    at, cell = next(
        (at, cell)
        for at, cell in enumerate(cells, start=1)
        if not _is_number(cell) or not math.isfinite(float(cell))
    )
    if not cell:
        return f"number {at} of the row is missing; nothing stands between two commas."
    if _is_number(cell):
        return f"number {at} of the row is {cell}; numbers must be finite."
    if _has_numbers(cell):
        return f"{cell[:40]!r} is no number; put commas between numbers."
    return (
        f"{cell[:40]!r} is no number. If it is a label, name its column with --label-column; if the first "
        "line names the columns, add --header."
    )


def _label(path: Path, at: int, cell: str) -> str:
    return cell or _fail(path, f"line {at} has no label.")


def _fail(path: Path, sentence: str) -> NoReturn:
    raise click.ClickException(f"{path}: {sentence}")
