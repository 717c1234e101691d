"""Parquet tables in and out; the one module that imports pyarrow, which is optional."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from service.cli.moving.columns import by_role
from service.cli.moving.rows import Row, Vectors, id_of_path

__all__ = ["ParquetSink", "Table", "open_parquet", "parquet_rows", "require"]

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    pa = None

_BATCH_ROWS = 1024
_GROUP_BYTES = 64 * 2**20
_KEY = b"lookalike"
_ROLES = ("id", "identity", "path", "vector", "metadata")


def require() -> None:
    """Refuse to go on where pyarrow is not installed.

    Raises:
        ClickException: it is not.
    """
    if pa is None:
        raise click.ClickException("Parquet needs pyarrow: pip install 'lookalike[parquet]'.")


@dataclass(frozen=True, slots=True)
class Table:
    """A Parquet file to import.

    Attributes:
        total: its rows.
        dimension: of its vectors; None where it has paths of pictures.
        names: the columns by what they are to an item, the rest by their names.
        config: of the collection that was exported; else empty.
    """

    path: Path
    total: int
    dimension: int | None
    names: dict[str, str]
    config: dict[str, Any]


def open_parquet(path: Path, columns: Mapping[str, str]) -> Table:
    """Look at a Parquet file, which has a column `vector` or `path`.

    Raises:
        ClickException: it is none, or has no such column.
    """
    require()
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise click.ClickException(f"{path} cannot be read as Parquet ({error}).") from error
    schema = file.schema_arrow
    names = {role: schema.names[at] for role, at in by_role(schema.names, columns, path).items()}
    if "vector" not in names and "path" not in names:
        raise click.ClickException(
            f"{path} has the columns {', '.join(schema.names[:8])}, and none is called vector or path. "
            "Say which one it is with --column vector=NAME or path=NAME."
        )
    dimension = _dimension(file, names["vector"], path) if "vector" in names else None
    known = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    return Table(path, file.metadata.num_rows, dimension, names, known if isinstance(known, dict) else {})


def parquet_rows(table: Table, fields: Mapping[str, str], prefix: str) -> Iterator[Row]:
    """Yield the rows, some thousand in memory at a time; an id is the row's own, its path or its number.

    Raises:
        ClickException: the file is damaged, or a row's metadata is no object as JSON.
    """
    others = [name for role, name in table.names.items() if role not in _ROLES]
    at = 0
    try:
        for batch in pq.ParquetFile(table.path).iter_batches(_BATCH_ROWS):
            columns = {role: batch.column(name) for role, name in table.names.items() if role != "vector"}
            plain = {role: column.to_pylist() for role, column in columns.items()}
            vectors = _vectors(batch.column(table.names["vector"])) if "vector" in table.names else None
            for row in range(batch.num_rows):
                known = {role: values[row] for role, values in plain.items()}
                metadata = _metadata(known.get("metadata"), table.path, at)
                metadata |= {name: _json_value(known[name]) for name in others if known[name] is not None}
                picture = None if vectors is not None else str(known["path"])
                made = f"{prefix}{at}" if picture is None else id_of_path(prefix + picture)
                yield Row(
                    made if known.get("id") is None else str(known["id"]),
                    None if known.get("identity") is None else str(known["identity"]),
                    metadata,
                    vectors[row] if vectors is not None else table.path.parent / str(picture),
                    f"row {at}" if picture is None else f"row {at}: {picture}",
                )
                at += 1
    except (pa.ArrowException, OSError) as error:
        raise click.ClickException(f"{table.path} is damaged at row {at} ({error}).") from error


class ParquetSink:
    """A Parquet file being written: id, identity, vector and metadata, which is JSON.

    Args:
        path: the file.
        config: of the collection, as a request makes one; kept in the file.
        dimension: D.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], dimension: int) -> None:
        require()
        self._dimension = dimension
        self._schema = pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                pa.field("identity", pa.string()),
                pa.field("metadata", pa.string(), nullable=False),
                pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
            ],
            metadata={_KEY: json.dumps(config).encode()},
        )
        self._writer = pq.ParquetWriter(path, self._schema)
        self._held: list[Any] = []
        self._held_bytes = 0

    def write(self, items: Sequence[Mapping[str, Any]], vectors: Vectors) -> None:
        """Add items and their vectors, (N, D) float32."""
        vector = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self._dimension)
        columns = [
            pa.array([item["id"] for item in items], pa.string()),
            pa.array([item["identity"] for item in items], pa.string()),
            pa.array([json.dumps(item["metadata"], ensure_ascii=False) for item in items], pa.string()),
            vector,
        ]
        self._held.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._held_bytes += self._held[-1].nbytes
        if self._held_bytes >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is held and the file's end."""
        if self._held:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held, self._schema))
        self._held, self._held_bytes = [], 0


def _dimension(file: Any, name: str, path: Path) -> int:
    """Return how many numbers the vectors in a column have: what its type says, or else the first of them."""
    kind = file.schema_arrow.field(name).type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    if not pa.types.is_list(kind) and not pa.types.is_large_list(kind):
        raise click.ClickException(f"{path}: the column {name} holds no lists of numbers.")
    batches = file.iter_batches(_BATCH_ROWS, columns=[name])
    values = (value for batch in batches for value in batch.column(0))
    return next((len(value) for value in values if value.is_valid), 0)


def _vectors(column: Any) -> list[Vectors]:
    """Return the vector of each row; one that is missing has no numbers, and is rejected."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    lengths = np.array(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    if column.null_count or flat.size != lengths.sum():
        return [np.asarray(value if value else [], dtype=np.float32) for value in column.to_pylist()]
    return np.split(flat.astype(np.float32), np.cumsum(lengths)[:-1])


def _metadata(text: Any, path: Path, row: int) -> dict[str, Any]:
    if text is None:
        return {}
    if isinstance(text, dict):
        return {name: _json_value(value) for name, value in text.items() if value is not None}
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise click.ClickException(f"{path}: the metadata of row {row} is no object as JSON.")
    return found


def _json_value(value: Any) -> Any:
    """Return a value as JSON has it; times as ISO 8601."""
    if isinstance(value, str | int | float | bool | list | dict):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
