"""Items that came as columns, in a form or as a tensor, put together into one record each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.api.validation import RequestBody, no_such_field, pointer_of
from service.api.vectors import located

__all__ = ["VectorRow", "metadata_in", "with_items"]

_COLUMNS = ("id", "identity", "metadata")
_OF_A_PAGE = ("cursor", "damaged")
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


def with_items(fields: dict[str, Any], model: type[RequestBody]) -> dict[str, Any]:
    """Return the fields of an enrolment, its items put together where they came as columns or as a tensor.

    In a form image files have id, identity and metadata beside them. The answer of a page of items is such a
    body too: its cursor, and what is damaged, say nothing here.

    Args:
        fields: as they came.
        model: what they are to fit then.

    Raises:
        InvalidFieldsError: the columns do not go together, or with no pictures or vectors; names what is at
            fault.
    """
    columns = {name: fields[name] for name in ("image", *_COLUMNS) if name in fields}
    rest = {name: value for name, value in fields.items() if name not in columns}
    if "image" in columns:
        return {**rest, "items": _rows_of_form(columns, rest.get("items"))}
    if isinstance(fields.get("vector"), Tensor):
        beside = ("vector", *_OF_A_PAGE)
        others = {name: value for name, value in rest.items() if name not in beside}
        return {**others, "items": _rows_of_tensor(fields["vector"], fields.get("items"), columns)}
    if columns and "items" not in fields and "vector" not in fields:
        for name in rest:  # a misspelt tensor or picture
            if name not in model.model_fields and name not in _OF_A_PAGE:
                raise located(pointer_of(name), no_such_field(model))
        raise located("/image", "There is no picture. A form has files under image, JSON has items.")
    return fields


def metadata_in(fields: Any) -> Iterator[object]:
    """Yield the metadata among the fields of an enrolment as they came: of the items, or a column."""
    if not isinstance(fields, dict):
        return
    yield fields.get("metadata")
    items = fields.get("items")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield item.get("metadata")


def _rows_of_form(columns: dict[str, Any], items: Any) -> list[dict[str, Any]]:
    """Return one item a file; a single identity or metadata is for all of them."""
    images = columns["image"]
    if not isinstance(images, list):
        raise located("/image", "image takes files in a form, or comes inside items in JSON.")
    if items is not None:
        raise located("/items", "items came beside files; give id, identity and metadata beside these.")
    rows: list[dict[str, Any]] = [{"image": image} for image in images]
    _spread(columns, rows, "images")
    return rows


def _rows_of_tensor(vectors: Tensor, items: Any, columns: dict[str, Any]) -> Sequence[Any]:
    """Return one item a row of the (N, D) tensor, with what `items` or the columns say about each.

    Those that are as they should be are `VectorRow`; any other is left for `ItemBody` to say what is wrong.
    """
    if vectors.ndim != 2:
        raise located("/vector", f"The tensor vector must be (N, D); it is {tuple(vectors.shape)}.")
    if items is None:
        items = [{} for _ in vectors]
        _spread(columns, items, "vectors")
    elif columns:
        name = next(iter(columns))
        raise located(f"/{name}", f"{' and '.join(columns)} stand in items where there are items.")
    if not isinstance(items, list) or len(items) != len(vectors):
        raise located(
            "/items", f"The tensor vector has {len(vectors)} rows, so items must have as many entries."
        )
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
            raise located(
                f"/{name}", f"{len(values)} values of {name} came with {len(rows)} {what}; give one each."
            )
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
