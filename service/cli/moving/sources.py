"""What can be imported: folders of pictures, tables, arrays, and what `lookalike export` wrote."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from service.cli.moving.arrays import array_rows, open_arrays
from service.cli.moving.columns import by_role
from service.cli.moving.rows import Row, id_of_path

__all__ = ["Fields", "Source", "open_source", "typed"]

Fields = Mapping[str, str]

_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_TABLES, _ARRAYS = (".csv", ".parquet"), (".npy", ".npz", ".safetensors")
_KINDS = "a folder of pictures, .csv, .parquet, .npy, .npz or .safetensors"


@dataclass(frozen=True, slots=True)
class Source:
    """Something to import.

    Attributes:
        total: how many rows it has.
        dimension: of its vectors; None where it has pictures.
        rows: yields the rows in an order that is always the same, given the collection's declared fields.
        config: of the collection that it was exported from, as a request makes one; else empty.
    """

    total: int
    dimension: int | None
    rows: Callable[[Fields], Iterator[Row]]
    config: dict[str, Any] = field(default_factory=dict)


def open_source(path: Path, *, labels: str | None, columns: Mapping[str, str], prefix: str) -> Source:
    """Look at what is to be imported.

    Args:
        path: a folder or a file; its suffix says what it is.
        labels: the file of the identities of an array's rows, where it has none itself.
        columns: what the columns `id`, `identity`, `path`, `vector` and `metadata` are called, if otherwise.
        prefix: stands before the ids that are made of paths and numbers of rows.

    Raises:
        ClickException: it is none of these, cannot be read, or has nothing in it and is no export; or the
            prefix cannot stand before the number of a row.
    """
    suffix = "" if path.is_dir() else path.suffix.lower()
    if labels is not None and suffix not in _ARRAYS:
        raise click.UsageError("--labels is for arrays; tables and folders have their identities within.")
    if columns and suffix not in _TABLES:
        raise click.UsageError("--column is for tables; folders and arrays have none.")
    source = _opened(path, suffix, labels, columns, prefix)
    if not source.total and not source.config:  # a mistyped name makes no collection
        what = f"no {', '.join(_PICTURES)}" if path.is_dir() else "no row"
        raise click.ClickException(f"There is {what} in {path}.")
    if prefix and source.dimension is not None:
        _check_prefix(prefix, source.total)
    return source


def _check_prefix(prefix: str, rows: int) -> None:
    """Refuse a prefix with which the numbers of rows are no ids; in those of paths it is encoded."""
    from service.gallery.items import name_problem  # noqa: PLC0415 - it takes a while, and few have a prefix

    last = f"{prefix}{rows - 1}"
    problem = name_problem(last)
    if problem:
        raise click.BadParameter(f"the id {last!r} {problem}.", param_hint="--id-prefix")


def _opened(path: Path, suffix: str, labels: str | None, columns: Mapping[str, str], prefix: str) -> Source:
    if path.is_dir():
        _tell_of_links(path)
        return Source(sum(1 for _ in _pictures(path)), None, lambda _: _folder_rows(path, prefix))
    if suffix == ".csv":
        names = _csv_names(path, columns)
        return Source(
            sum(1 for _ in _csv_lines(path)),
            None,
            lambda fields: _csv_rows(path, names, fields, prefix),
        )
    if suffix == ".parquet":
        from service.cli.moving.parquet import open_parquet, parquet_rows  # noqa: PLC0415 - an extra

        table = open_parquet(path, columns)
        return Source(
            table.total, table.dimension, lambda fields: parquet_rows(table, fields, prefix), table.config
        )
    if suffix in _ARRAYS:
        arrays = open_arrays(path, labels)
        return Source(
            len(arrays.vectors), arrays.vectors.dimension, lambda _: array_rows(arrays, prefix), arrays.config
        )
    raise click.ClickException(f"{path} cannot be imported: it must be {_KINDS}.")


def typed(text: str, kind: str | None) -> Any:
    """Return a cell as what its declared field takes; as it is where it is no such thing, or not declared."""
    if kind in ("integer", "float"):
        try:
            return int(text) if kind == "integer" else float(text)
        except ValueError:
            return text
    if kind == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    return text


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield a folder and its folders, each with the names of folders and files in it, sorted, none hidden."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(place), folders, sorted(name for name in files if not name.startswith("."))


def _pictures(folder: Path) -> Iterator[str]:
    """Yield the relative paths of the pictures in a folder and its folders, sorted."""
    for place, _, files in _walk(folder):
        for name in files:
            if name.lower().endswith(_PICTURES):
                yield (place / name).relative_to(folder).as_posix()


def _tell_of_links(folder: Path) -> None:
    """Say which folders are not looked into: those elsewhere, which may even contain this one."""
    linked = [
        place / name for place, folders, _ in _walk(folder) for name in folders if (place / name).is_symlink()
    ]
    if linked:
        click.echo(
            f"Links to folders are not followed: {len(linked):,} passed over, the first is {linked[0]}.",
            err=True,
        )


def _folder_rows(folder: Path, prefix: str) -> Iterator[Row]:
    for path in _pictures(folder):
        first, inside, _ = path.partition("/")
        identity = id_of_path(first) if inside else None
        yield Row(id_of_path(prefix + path), identity, {}, folder / path, path)


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines below the first, with their numbers."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            next(reader, None)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{path} is no table in UTF-8 with commas ({error}).") from error


def _csv_names(path: Path, columns: Mapping[str, str]) -> dict[str, int]:
    """Return the columns by what they are to an item, the rest by their names.

    Raises:
        ClickException: the first line does not name them, or names no path.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names = [name.strip() for name in next(csv.reader(file), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{path} is no table in UTF-8 with commas ({error}).") from error
    if not names:
        raise click.ClickException(f"{path} is empty, or its first line is, which must name the columns.")
    found = by_role(names, columns, path)
    if "path" not in found:
        raise click.ClickException(
            f"{path}: no column is called path; its first line is {', '.join(names[:6])}. "
            "Say which one has the pictures' paths with --column path=NAME."
        )
    return found


def _csv_rows(path: Path, names: Mapping[str, int], fields: Fields, prefix: str) -> Iterator[Row]:
    others = {name: at for name, at in names.items() if name not in ("id", "identity", "path")}
    for line, cells in _csv_lines(path):
        if len(cells) != len(names):
            raise click.ClickException(
                f"{path}: line {line} has {len(cells)} cells where the first has {len(names)}."
            )
        picture = cells[names["path"]].strip()
        item_id = _cell(cells, names, "id")
        yield Row(
            item_id if item_id is not None else id_of_path(prefix + picture),
            _cell(cells, names, "identity"),
            {name: typed(cells[at], fields.get(name)) for name, at in others.items() if cells[at] != ""},
            path.parent / picture,
            f"line {line}: {picture}",
        )


def _cell(cells: Sequence[str], names: Mapping[str, int], name: str) -> str | None:
    return (cells[names[name]].strip() or None) if name in names else None
