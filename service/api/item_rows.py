"""Items that came as columns, in a form or as a tensor, put together into one record each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["VectorRow", "rows_of_form", "rows_of_tensor"]

_COLUMNS = ("id", "identity", "metadata")
_MAX_IDENTITY_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class VectorRow:
    """An item whose vector is a row of a tensor: what `ItemBody` holds, without what its validation costs.

    Attributes:
        vector: (D,) float32, a view of the whole.
    """

    id: str | None
    identity: str | None
    metadata: dict[str, Any]
    vector: npt.NDArray[np.float32]


def rows_of_form(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one item a file; a single identity or metadata is for all of them."""
    images = columns["image"]
    if not isinstance(images, list):
        raise ValueError("image takes files in a form, or comes inside items in JSON")
    rows: list[dict[str, Any]] = [{"image": image} for image in images]
    _spread(columns, rows, "images")
    return rows


def rows_of_tensor(vectors: Tensor, items: Any, columns: dict[str, Any]) -> Sequence[Any]:
    """Return one item a row of the (N, D) tensor, with what `items` or the columns say about each.

    Those that are as they should be are `VectorRow`; any other is left for `ItemBody` to say what is wrong.
    """
    if vectors.ndim != 2:
        raise ValueError(f"the tensor vector must be (N, D); it is {tuple(vectors.shape)}")
    if items is None:
        items = [{} for _ in vectors]
        _spread(columns, items, "vectors")
    elif columns:
        raise ValueError(f"{' and '.join(columns)} stand in items where there are items")
    if not isinstance(items, list) or len(items) != len(vectors):
        raise ValueError(f"the tensor vector has {len(vectors)} rows, so items must have as many entries")
    rows = vectors.to(torch.float32).numpy()  # beyond float32's range it is inf, which the collection rejects
    return [_row(item, row) for item, row in zip(items, rows, strict=True)]


def _spread(columns: dict[str, Any], rows: list[dict[str, Any]], what: str) -> None:
    """Put the values of columns into their rows; one value of what is no id is for all."""
    for name in _COLUMNS:
        if name not in columns:
            continue
        values = columns[name] if isinstance(columns[name], list) else [columns[name]]
        if len(values) == 1 and (name != "id" or len(rows) == 1):
            values = values * len(rows)
        if len(values) != len(rows):
            raise ValueError(f"{len(values)} values of {name} came with {len(rows)} {what}; give one each")
        for row, value in zip(rows, values, strict=True):
            row[name] = value


def _row(item: Any, vector: npt.NDArray[np.float32]) -> Any:
    if not isinstance(item, dict):
        return item
    item_id, identity, metadata = item.get("id"), item.get("identity"), item.get("metadata", {})
    plain = (
        len(vector) > 0
        and len(item) == sum(name in item for name in _COLUMNS)
        and (item_id is None or isinstance(item_id, str))
        and (
            identity is None or (isinstance(identity, str) and 1 <= len(identity) <= _MAX_IDENTITY_CHARACTERS)
        )
        and isinstance(metadata, dict)
    )
    if plain:
        return VectorRow(item_id, identity, metadata, vector)
    return {**item, "vector": torch.from_numpy(vector)}
