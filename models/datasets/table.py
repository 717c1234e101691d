"""A table of pictures: images.csv with the columns path, identity, camera, split."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.datasets.listing import dataset_name, inside, refuse_absent, refuse_repeats, refuse_shared
from models.datasets.samples import ImageSet, Sample
from models.errors import DatasetError

__all__ = ["TABLE", "read_csv"]

TABLE = "images.csv"
COLUMNS = ("path", "identity", "camera", "split")


def read_csv(folder: Path, split: str) -> ImageSet:
    """Read a split of a folder with an images.csv of the columns path, identity, camera, split.

    Paths are relative to the folder. An empty camera means that it is unknown. Blanks around a value, and
    how a column's name is capitalised, mean nothing.

    Raises:
        DatasetError: no table, one that cannot be read, a missing column, an empty identity or path, more
            values than columns or fewer, a path that leaves the folder, a picture that is listed twice or is
            not there, an identity in two splits, or no such split.
    """
    table = folder / TABLE
    if not table.is_file():
        raise DatasetError(f"There is no {TABLE} in {folder}.")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            _check_columns(table, reader.fieldnames)
            rows = [_sample(folder, row, f"{table}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table} cannot be read ({error}). It must be a table in UTF-8.") from error
    refuse_repeats(table, (row.path for row in rows))
    refuse_shared(table, ((row.identity, row.split) for row in rows))
    samples = tuple(row for row in rows if row.split == split)
    if not samples:
        splits = Counter(row.split for row in rows)
        found = ", ".join(f"{name!r} ({count:,})" for name, count in sorted(splits.items())) or "none"
        raise DatasetError(f"{table} has no split {split!r}; it has {found}.")
    refuse_absent([sample.path for sample in samples], f"the split {split!r}")
    return ImageSet(dataset_name(folder), split, samples, "csv")


def _sample(folder: Path, row: dict[str | None, Any], where: str) -> Sample:
    """Make a sample of a row of the table."""
    if any(value.strip() for value in row.get(None) or ()):  # where csv puts what no column names
        raise DatasetError(
            f'{where} has more values than there are columns. A value with a comma stands in "quotes".'
        )
    absent = [column for column in COLUMNS if row[column] is None]  # what csv makes of a row that ends early
    if absent:
        raise DatasetError(
            f"{where} ends before its column {', '.join(absent)}. A value that is not known is empty, "
            "between its commas."
        )
    path, identity, camera, split = (row[column].strip() for column in COLUMNS)
    if not path or not identity:
        raise DatasetError(f"{where} has no {'path' if not path else 'identity'}.")
    return Sample(inside(folder, path, where), identity, camera, split)


def _check_columns(table: Path, names: Sequence[str]) -> None:
    """Refuse a table without the columns that are needed, or with one of them twice."""
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        hint = " Part its columns by commas." if len(names) == 1 and set(";\t|") & set(names[0]) else ""
        raise DatasetError(
            f"{table} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}, and has "
            f"{', '.join(map(repr, names)) or 'none'}.{hint}"
        )
    twice = [column for column in COLUMNS if names.count(column) > 1]
    if twice:
        raise DatasetError(f"{table} has the column {', '.join(twice)} twice.")
