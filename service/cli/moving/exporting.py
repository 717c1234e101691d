"""A collection written to files, page by page, which are there when all of it is."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import click
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from service.cli.moving.course import Course
from service.cli.moving.rest import SAFETENSORS, Server
from service.cli.moving.rows import Vectors

__all__ = ["SUFFIXES", "export_collection", "files_of"]

SUFFIXES = (".safetensors", ".parquet")

_PAGE_ITEMS = 1000
_NAMED = 20  # damaged items
_HEAD_BYTES = 64 * 1024  # of the .safetensors, whose number of rows is known at its end; blank where not used
_CONFIG = ("metric", "fields", "quality", "keep_images")


class Sink(Protocol):
    """Files that take items."""

    def write(self, items: Sequence[Mapping[str, Any]], vectors: Vectors) -> None:
        """Add items and their vectors, (N, D) float32."""

    def close(self) -> None:
        """Write what is held."""


class TensorSink:
    """A .safetensors file with the tensor `vector`, and a line of JSON for each item in a file of its own.

    Args:
        tensors, lines: the two files.
        config: of the collection, kept in the first one's metadata.
        dimension: D.
    """

    def __init__(self, tensors: Path, lines: Path, config: Mapping[str, Any], dimension: int) -> None:
        self._config, self._dimension, self._count = config, dimension, 0
        self._tensors, self._lines = tensors.open("wb"), lines.open("wb")
        self._tensors.write(b" " * _HEAD_BYTES)

    def write(self, items: Sequence[Mapping[str, Any]], vectors: Vectors) -> None:
        """Add items and their vectors, (N, D) float32."""
        self._tensors.write(vectors.astype("<f4", copy=False).tobytes())
        for item in items:
            line = {name: item[name] for name in ("id", "identity", "metadata")}
            self._lines.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._count += len(items)

    def close(self) -> None:
        """Write the header, now that the number of rows is known.

        Source: the format's description, https://github.com/huggingface/safetensors#format.
        """
        shape = (self._count, self._dimension)
        header = {
            "__metadata__": {"lookalike": json.dumps(self._config)},
            "vector": {
                "dtype": "F32",
                "shape": shape,
                "data_offsets": (0, 4 * self._count * self._dimension),
            },
        }
        text = json.dumps(header).encode()
        self._tensors.seek(0)
        self._tensors.write((_HEAD_BYTES - 8).to_bytes(8, "little") + text.ljust(_HEAD_BYTES - 8))
        self._tensors.close()
        self._lines.close()


def export_collection(server: Server, collection: str, out: Path) -> str:
    """Write a collection to OUT.parquet, or OUT.safetensors and OUT.jsonl; say in a sentence what was done.

    What is written meanwhile may be in it or not, and an item that is replaced meanwhile may be in it twice:
    the later one counts, which an import does by itself.

    Raises:
        ClickException: the server refuses, or the files cannot be written; then there are none.
    """
    place = f"/v1/collections/{quote(collection, safe='')}"
    found = server.ask("GET", place)
    described = found.json()
    if found.status != 200 or "dimension" not in described:
        raise click.ClickException(found.sentence())
    config = {name: described[name] for name in _CONFIG if name in described}
    config |= {"encoder": described["encoder"]} if described["encoder"] else {}
    config["index"] = {"type": described["index"]["type"]}
    course = Course("export", described["items"])
    damaged: list[str | None] = []
    with (
        _whole(files_of(out)) as partial,
        course,
        contextlib.closing(_sink(partial, config, described["dimension"])) as sink,
    ):
        for one in _pages(server, f"{place}/items"):
            damaged += one.damaged
            if one.items:
                sink.write(one.items, one.vectors)
                course.advance(len(one.items))
    wrote = f"Wrote {course.done:,} items to {' and '.join(map(str, files_of(out)))}."
    if damaged:
        raise click.ClickException(f"{_unread(damaged)} {wrote}")
    return f"{wrote} {_left_behind(course.done)}" if described.get("keep_images") and course.done else wrote


def files_of(out: Path) -> list[Path]:
    """Return the files of an export; that by which it is named is the last."""
    return [out] if out.suffix.lower() == ".parquet" else [out.with_suffix(".jsonl"), out]


def _unread(damaged: Sequence[str | None]) -> str:
    """Say which items are in no export."""
    named = ", ".join(repr(one) for one in damaged[:_NAMED] if one is not None) or "their ids are lost"
    return (
        f"Damaged, and not in it: {len(damaged):,} ({named}). Delete such items and enrol them again, or "
        "restore a backup."
    )


def _left_behind(items: int) -> str:
    """Say what is not in an export where pictures are kept; which items have one, no page tells."""
    return (
        f"The small pictures of up to {items:,} items (keep_images) are not in it, for an item is written as "
        "a vector or as a picture. `lookalike backup` copies them too."
    )


def _sink(partial: Sequence[Path], config: Mapping[str, Any], dimension: int) -> Sink:
    if len(partial) == 1:
        from service.cli.moving.parquet import ParquetSink  # noqa: PLC0415 - an extra

        return ParquetSink(partial[0], config, dimension)
    lines, tensors = partial
    return TensorSink(tensors, lines, config, dimension)


@contextlib.contextmanager
def _whole(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Give the names under which files are written, and give them their own once all are on the disk."""
    partial = [path.with_name(f".{path.name}.partial") for path in files]
    try:
        yield partial
        for path in partial:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for path, own in zip(partial, files, strict=True):
            path.replace(own)
    except OSError as error:
        raise click.ClickException(f"{files[-1]} cannot be written ({error.strerror or error}).") from error
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


class _Page(NamedTuple):
    items: list[dict[str, Any]]
    vectors: Vectors
    cursor: str | None
    damaged: list[str | None]


def _pages(server: Server, place: str) -> Iterator[_Page]:
    """Yield the pages of a collection; the next is fetched while one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="export") as pool:
        try:
            coming = pool.submit(_page, server, place, "")
            while True:
                page = coming.result()
                if page.cursor is not None:
                    coming = pool.submit(_page, server, place, page.cursor)
                yield page
                if page.cursor is None:
                    return
        finally:
            server.stop()


def _page(server: Server, place: str, cursor: str) -> _Page:
    query = urlencode({"include": "vector", "limit": _PAGE_ITEMS, **({"cursor": cursor} if cursor else {})})
    answer = server.ask("GET", f"{place}?{query}", headers={"Accept": SAFETENSORS})
    if answer.status != 200:
        raise click.ClickException(answer.sentence())
    try:
        tensors = load(answer.content)
        header = json.loads(answer.content[8 : 8 + int.from_bytes(answer.content[:8], "little")])
        page = json.loads(header["__metadata__"]["json"])
        vectors = tensors.get("vector", np.empty((0, 0), dtype=np.float32))
        return _Page(page["items"], vectors, page["cursor"], page["damaged"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise click.ClickException(f"{server.url} answers otherwise than a Lookalike server.") from error
