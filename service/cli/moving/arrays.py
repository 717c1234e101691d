"""Vectors in .npy, .npz and .safetensors files, read as they are needed; nothing is unpickled."""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from tokenize import TokenError
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from service.cli.moving.rows import Row, Vectors

__all__ = ["Arrays", "Rows", "array_rows", "open_arrays"]

_SLICE_ROWS = 4096
_VECTORS = ("vector", "vectors", "embeddings", "embedding", "x")
_LABELS = ("identity", "identities", "labels", "label", "y")
_IDS = ("id", "ids")
# What numpy lets through where a file is not what it should be.
_BROKEN = (ValueError, TypeError, SyntaxError, EOFError, TokenError, zipfile.BadZipFile, SafetensorError)

_Array = npt.NDArray[Any]


class Rows:
    """The rows of an array, sliced from the file as they are needed.

    Args:
        source: what is sliced.
        shape: (N, D).
        path: of the file.
        least: how many rows there must be.

    Attributes:
        dimension: D of the (N, D) array.
    """

    def __init__(self, source: Any, shape: tuple[int, ...], path: Path, *, least: int = 1) -> None:
        if len(shape) != 2 or shape[0] < least or shape[1] < 1:
            raise click.ClickException(
                f"{path}: vectors are an (N, D) array with N and D at least 1; this one is {shape}."
            )
        self._source = source
        self._count, self.dimension = shape

    def __len__(self) -> int:
        """Return N."""
        return self._count

    def __iter__(self) -> Iterator[Vectors]:
        for begin in range(0, self._count, _SLICE_ROWS):
            piece = np.asarray(self._source[begin : min(begin + _SLICE_ROWS, self._count)])
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is rejected by its row
                yield from piece.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Arrays:
    """Vectors, and what is known of each: from an export's .jsonl, or identities and ids by their numbers.

    Attributes:
        items: an export's .jsonl, or None.
        config: of the collection that was exported; else empty.
    """

    path: Path
    vectors: Rows
    identities: list[str] | None = None
    ids: list[str] | None = None
    items: Path | None = None
    config: dict[str, Any] = field(default_factory=dict)


def open_arrays(path: Path, labels: str | None) -> Arrays:
    """Open a file of vectors; `labels` is a file of their identities.

    Raises:
        ClickException: it holds no such array, or labels of another number, or an export's .jsonl is missing.
    """
    try:
        arrays = _open_safetensors(path) if path.suffix.lower() == ".safetensors" else _open_numpy(path)
    except _BROKEN as error:
        # Of a file of another kind NumPy says how to unpickle it, which nobody should do to others' files.
        why = "" if "pickle" in str(error) else f" ({error})"
        raise click.ClickException(f"{path} cannot be read as an array of numbers{why}.") from error
    if labels is not None:
        from service.cli.arrays import read_labels  # noqa: PLC0415 - it comes with torch
        from service.cli.tables import Layout  # noqa: PLC0415 - with numpy alone, but with the former

        found = [str(label) for label in read_labels(labels, Layout(header=None, label_column=None))]
        arrays = Arrays(path, arrays.vectors, found, arrays.ids, arrays.items, arrays.config)
    for names, what in ((arrays.identities, "identities"), (arrays.ids, "ids")):
        if names is not None and len(names) != len(arrays.vectors):
            raise click.ClickException(f"{path} has {len(arrays.vectors)} vectors and {len(names)} {what}.")
    return arrays


def array_rows(arrays: Arrays, prefix: str) -> Iterator[Row]:
    """Yield the rows; an id is that of the file, or else the number of the row, from 0.

    Raises:
        ClickException: the .jsonl has not one line for each vector.
    """
    if arrays.items is not None:
        yield from _exported_rows(arrays, arrays.items)
        return
    identities: Iterable[str | None] = arrays.identities or repeat(None)
    ids: Iterable[str | None] = arrays.ids or repeat(None)
    for at, (vector, identity, item_id) in enumerate(zip(arrays.vectors, identities, ids, strict=False)):
        yield Row(item_id or f"{prefix}{at}", identity, {}, vector, f"row {at}")


def _exported_rows(arrays: Arrays, items: Path) -> Iterator[Row]:
    at = -1
    with items.open("rb") as lines:
        for at, (vector, line) in enumerate(zip(arrays.vectors, lines, strict=False)):
            try:
                item = json.loads(line)
                yield Row(item["id"], item.get("identity"), item.get("metadata", {}), vector, f"row {at}")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise click.ClickException(f"{items}: line {at + 1} is no item as JSON.") from error
        if at + 1 != len(arrays.vectors) or lines.readline():
            raise click.ClickException(f"{items} has not one line for each of {len(arrays.vectors)} vectors.")


def _open_numpy(path: Path) -> Arrays:
    if path.suffix.lower() == ".npy":
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        return Arrays(path, Rows(_real(vectors, path), vectors.shape, path))
    with np.load(path, allow_pickle=False) as several:
        held: dict[str, _Array] = {name: several[name] for name in several.files}
    vectors = held[_chosen(held, path)]
    return Arrays(
        path, Rows(_real(vectors, path), vectors.shape, path), _names(held, _LABELS), _names(held, _IDS)
    )


def _open_safetensors(path: Path) -> Arrays:
    file: Any = safe_open(path, framework="numpy")
    names = list(file.keys())
    source = file.get_slice(_chosen(names, path))
    held = {name: file.get_tensor(name) for name in names if name in _LABELS}
    beside = path.with_suffix(".jsonl")
    config = _exported_config(file.metadata() or {})
    if config and not beside.is_file():
        raise click.ClickException(f"{beside} is missing; it has the ids and identities of this export.")
    return Arrays(
        path,
        # A collection may have been exported before anything was in it.
        Rows(source, tuple(source.get_shape()), path, least=0 if config else 1),
        _names(held, _LABELS),
        items=beside if beside.is_file() else None,
        config=config,
    )


def _exported_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration of the collection that a file was exported from; empty where it was not."""
    config = json.loads(metadata.get("lookalike", "{}"))
    return config if isinstance(config, dict) else {}


def _chosen(names: Iterable[str], path: Path) -> str:
    """Return the name of the array that holds the vectors: the only one that may, or the first known name."""
    possible = [name for name in names if name not in (*_LABELS, *_IDS)]
    known = [name for name in _VECTORS if name in possible]
    if len(possible) == 1 or known:
        return known[0] if known else possible[0]
    raise click.ClickException(
        f"{path} holds {', '.join(possible) or 'no array'}; call the vectors `vectors`."
    )


def _real(array: _Array, path: Path) -> _Array:
    if array.dtype.kind not in "fiu":
        raise click.ClickException(f"{path} holds {array.dtype}; vectors are real numbers.")
    return array


def _names(held: dict[str, _Array], known: Iterable[str]) -> list[str] | None:
    name = next((name for name in known if name in held), None)
    return None if name is None else [str(value) for value in held[name].reshape(-1).tolist()]
