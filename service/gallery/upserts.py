"""An upsert before and after it is written: items as rows, and what became of them."""

from collections.abc import Sequence
from typing import Literal

from service.gallery.collection import ANOTHER_REJECTED, CollectionConfig, NewItem, Written
from service.gallery.items import ItemRejectedError, prepare
from service.gallery.pauses import Paced
from service.gallery.schema import Row

__all__ = ["latest", "prepared_rows", "written"]


def prepared_rows(
    items: Sequence[NewItem], config: CollectionConfig, paced: Paced[NewItem], *, all_or_none: bool
) -> list[Row | Written]:
    """Return a row for each item, or why it is rejected; with all_or_none for all where one is.

    Args:
        items: to be written.
        config: of the collection.
        paced: yields them, with pauses.
        all_or_none: see above.
    """
    prepared = [_prepared(item, config) for item in paced(items)]
    if not all_or_none or all(isinstance(row, Row) for row in prepared):
        return prepared
    return [
        row if isinstance(row, Written) else Written(item.id, item.identity, "rejected", ANOTHER_REJECTED)
        for item, row in zip(items, prepared, strict=True)
    ]


def latest(prepared: Sequence[Row | Written]) -> list[Row]:
    """Return the rows to write: of an id that comes again the later one, in its later place."""
    rows: dict[str, Row] = {}
    for row in prepared:
        if isinstance(row, Row):
            rows.pop(row.id, None)
            rows[row.id] = row
    return list(rows.values())


def written(prepared: Sequence[Row | Written], known: set[str]) -> list[Written]:
    """Return what became of each item.

    Args:
        prepared: as `prepared_rows` returned them.
        known: the ids that were there before.
    """
    there = set(known)
    became: list[Written] = []
    for row in prepared:
        if isinstance(row, Row):
            status: Literal["created", "replaced"] = "replaced" if row.id in there else "created"
            became.append(Written(row.id, row.identity, status))
            there.add(row.id)
        else:
            became.append(row)
    return became


def _prepared(item: NewItem, config: CollectionConfig) -> Row | Written:
    try:
        return prepare(item, config)
    except ItemRejectedError as error:
        return Written(item.id, item.identity, "rejected", str(error))
