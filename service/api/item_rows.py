"""Items that came as columns, in a form or as a tensor, put together into one record each."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

__all__ = ["rows_of_form", "rows_of_tensor"]


def rows_of_form(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one item a file; a single identity or metadata is for all of them."""
    images = columns["image"]
    if not isinstance(images, list):
        raise ValueError("image takes files in a form, or comes inside items in JSON")
    rows: list[dict[str, Any]] = [{"image": image} for image in images]
    for name in ("id", "identity", "metadata"):
        if name not in columns:
            continue
        values = columns[name] if isinstance(columns[name], list) else [columns[name]]
        if len(values) == 1 and (name != "id" or len(rows) == 1):
            values = values * len(rows)
        if len(values) != len(rows):
            raise ValueError(f"{len(values)} values of {name} came with {len(rows)} images; give one each")
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def rows_of_tensor(vectors: Tensor, items: Any) -> Sequence[Any]:
    """Return one item a row of the (N, D) tensor, with what the metadata says about each."""
    if vectors.ndim != 2:
        raise ValueError(f"the tensor vector must be (N, D); it is {tuple(vectors.shape)}")
    if items is None:
        items = [{} for _ in vectors]
    if not isinstance(items, list) or len(items) != len(vectors):
        raise ValueError(f"the tensor vector has {len(vectors)} rows, so items must have as many entries")
    return [
        {**item, "vector": vector} if isinstance(item, dict) else item
        for item, vector in zip(items, vectors, strict=True)
    ]
