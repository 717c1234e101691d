"""The files that numeric commands read and write: .npy, .safetensors and .csv. Nothing is unpickled."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from service.cli.tables import Layout, read_label_column, read_table

__all__ = [
    "ARRAY_SUFFIXES",
    "Label",
    "LabelledRows",
    "check_layout",
    "check_output",
    "read_labels",
    "read_rows",
    "write_arrays",
]

ARRAY_SUFFIXES = (".npy", ".safetensors", ".csv")

Label = int | str

# What else than ValueError numpy lets through where a header is not what it should be.
_NOT_NPY = (ValueError, TypeError, SyntaxError, EOFError, MemoryError, TokenError)


class LabelledRows(NamedTuple):
    """Rows of finite numbers, (N, D) float32 or float64 with N and D >= 1, and labels from the same file."""

    values: Tensor
    labels: list[Label] | None


def read_rows(source: str, names: Sequence[str], layout: Layout, *, labelled: bool = False) -> LabelledRows:
    """Read the rows of a file; float64 and .csv stay float64, everything else becomes float32.

    Args:
        source: a file, or FILE.safetensors:NAME.
        names: those that the tensor may have where a .safetensors file holds several.
        layout: of a .csv file.
        labelled: whether to read labels from the same file too, where it has them.

    Raises:
        ClickException: whatever keeps the file from being rows of finite numbers, in one sentence.
    """
    path, name = _located(source)
    labels: Sequence[Label] | None = None
    if path.suffix.lower() == ".csv":
        values, labels = read_table(path, layout)
        rows = torch.from_numpy(values)
    elif path.suffix.lower() == ".npy":
        rows = _as_rows(_read_npy(path), path)
    else:
        rows, beside = _read_tensors(path, name, names, beside="labels" if labelled else None)
        labels = None if beside is None else _as_labels(beside, path)
    return LabelledRows(_checked(rows, source), None if labels is None else list(labels))


def read_labels(source: str, layout: Layout) -> list[Label]:
    """Read labels, integers or strings: an (N,) array, or a column of a .csv file.

    Raises:
        ClickException: whatever keeps the file from being labels.
    """
    path, name = _located(source)
    if path.suffix.lower() == ".csv":
        return list(read_label_column(path, layout))
    if path.suffix.lower() == ".npy":
        return _as_labels(_read_npy(path), path)
    return _as_labels(_read_tensors(path, name, ("labels",))[0], path)


def check_layout(inputs: Iterable[str | None], *, header: bool | None, label_column: str | None) -> None:
    """Refuse options that say how a .csv file is laid out where no input is one.

    Raises:
        ClickException: there is none, and what was given would be ignored.
    """
    given = {"--header or --no-header": header, "--label-column": label_column}
    if any(_split(source)[0].suffix.lower() == ".csv" for source in filter(None, inputs)):
        return
    for option, value in given.items():
        if value is not None:
            raise click.ClickException(
                f"{option} is about .csv files, and none of these is one; leave it out."
            )


def check_output(path: Path | None, suffixes: Sequence[str], inputs: Iterable[str | None]) -> None:
    """Refuse what cannot be written, before the work is done: a file of another kind, or an input.

    Raises:
        ClickException: another suffix, no such folder, or one of the inputs.
    """
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise click.ClickException(f"{path}: the file to write must end in {_one_of(suffixes)}.")
    if not path.parent.is_dir():
        raise click.ClickException(f"{path}: there is no folder {path.parent}. Make it first.")
    for source in filter(None, inputs):
        file, _ = _split(source)
        if path.exists() and file.exists() and path.samefile(file):
            raise click.ClickException(f"{path} is read by this command; write to another file.")


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write arrays to the kind of file that the suffix tells; several only to .safetensors.

    Raises:
        ClickException: the file cannot be written, or takes one array and there are several.
    """
    suffix = path.suffix.lower()
    if suffix != ".safetensors" and len(arrays) > 1:
        message = f"{path} takes one array; {' and '.join(arrays)} go into a .safetensors file."
        raise click.ClickException(message)
    try:
        if suffix == ".safetensors":
            save_file({name: values.contiguous() for name, values in arrays.items()}, path)
            return
        (values,) = (values.numpy() for values in arrays.values())
        if suffix == ".npy":
            np.save(path, values)
        else:
            digits = 9 if values.dtype == np.float32 else 17  # enough to read the same numbers again
            np.savetxt(path, np.atleast_1d(values), fmt=f"%.{digits}g", delimiter=",")
    except (OSError, SafetensorError) as error:
        raise click.ClickException(f"{path} cannot be written ({error}).") from error


def _split(source: str) -> tuple[Path, str | None]:
    """Take FILE.safetensors:NAME apart."""
    file, _, name = source.rpartition(":")
    if file.lower().endswith(".safetensors") and not Path(source).exists():
        return Path(file), name
    return Path(source), None


def _located(source: str) -> tuple[Path, str | None]:
    path, name = _split(source)
    if path.is_dir():
        raise click.ClickException(f"{path} is a folder; give a file in {_one_of(ARRAY_SUFFIXES)}.")
    if not path.exists():
        raise click.ClickException(f"There is no file {path}.")
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise click.ClickException(f"{path}: files that are read end in {_one_of(ARRAY_SUFFIXES)}.")
    return path, name


def _one_of(suffixes: Sequence[str]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}" if len(suffixes) > 1 else suffixes[0]


def _read_npy(path: Path) -> npt.NDArray[Any]:
    """Read an array, but no pickle, and only where the file holds as much as its header promises."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read_header(file)
            promised = math.prod(shape) * dtype.itemsize
        except (*_NOT_NPY, KeyError) as error:
            message = f"{path} is not a .npy file, or a damaged one; write it with numpy.save."
            raise click.ClickException(message) from error
        if dtype.hasobject:
            message = (
                f"{path} holds Python objects, which are never unpickled. Save numbers, or labels as "
                "strings: numpy.save(file, array.astype(str))."
            )
            raise click.ClickException(message)
        held = os.fstat(file.fileno()).st_size - file.tell()
        if not 0 <= promised <= held:
            message = f"{path} is cut short: its header promises {promised:,} bytes and it holds {held:,}."
            raise click.ClickException(message)
        file.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read_tensors(
    path: Path, name: str | None, expected: Sequence[str], beside: str | None = None
) -> tuple[Tensor, Tensor | None]:
    """Read the tensor that was asked for and, where the file has it, the one of the name `beside`."""
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
            chosen = _choose(path, names, name, expected)
            other = beside if beside in names and beside != chosen else None
            return file.get_tensor(chosen), None if other is None else file.get_tensor(other)
    except (SafetensorError, OSError) as error:
        message = f"{path} is not a .safetensors file, or a damaged one ({error})."
        raise click.ClickException(message) from error


def _choose(path: Path, names: list[str], name: str | None, expected: Sequence[str]) -> str:
    if not names:
        raise click.ClickException(f"{path} holds no tensor.")
    if name is not None and name not in names:
        raise click.ClickException(f"{path} has no tensor {name!r}; it has {', '.join(names)}.")
    found = [name] if name is not None else [known for known in expected if known in names]
    if found:
        return found[0]
    if len(names) == 1:
        return names[0]
    raise click.ClickException(
        f"{path} holds {', '.join(names)}, none of them named {' or '.join(expected)}. "
        f"Say which one to read as FILE:NAME, such as {path}:{names[0]}."
    )


def _as_rows(array: npt.NDArray[Any], path: Path) -> Tensor:
    if array.dtype.kind not in "iufb":
        raise click.ClickException(f"{path} holds {array.dtype}; it takes real numbers.")
    wide = array.dtype.kind == "f" and array.dtype.itemsize >= 8
    with np.errstate(over="ignore"):  # what does not fit becomes infinity, which is then refused
        return torch.from_numpy(np.asarray(array, np.float64 if wide else np.float32, order="C"))


def _checked(rows: Tensor, source: str) -> Tensor:
    if rows.is_complex():
        raise click.ClickException(f"{source} holds complex numbers; it takes real ones.")
    if rows.ndim != 2:
        hint = " Save a single row as array.reshape(1, -1)." if rows.ndim == 1 else ""
        message = f"{source} has {rows.ndim} dimension{'s' * (rows.ndim != 1)}; it takes rows and columns."
        raise click.ClickException(message + hint)
    if rows.numel() == 0:
        raise click.ClickException(f"{source} is empty: {rows.shape[0]} rows of {rows.shape[1]} numbers.")
    if rows.dtype != torch.float64:
        rows = rows.float()
    finite = torch.isfinite(rows).all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise click.ClickException(f"{source}: row {row}, counted from 0, has NaN or infinity.")
    return rows


def _as_labels(array: npt.NDArray[Any] | Tensor, path: Path) -> list[Label]:
    """Return the labels of an (N,) array of integers or strings."""
    if isinstance(array, Tensor):
        whole = not (array.is_floating_point() or array.is_complex() or array.dtype == torch.bool)
    else:
        whole = array.dtype.kind in "iuUS"
    if array.ndim != 1 or not whole:
        message = (
            f"{path}: labels are one array of integers or strings, one for each row; "
            f"these are {array.dtype} of shape {tuple(array.shape)}."
        )
        raise click.ClickException(message)
    if not isinstance(array, Tensor) and array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    labels: list[Label] = array.tolist()
    return labels
