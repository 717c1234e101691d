"""Items page by page, past those that are damaged."""

from service.gallery.collection import Page, StoredItem
from service.gallery.cursors import label_of
from service.gallery.damage import DamagedRows, of_identity
from service.gallery.items import name_problem
from service.gallery.store import Record

__all__ = ["page"]


def page(
    record: Record, limit: int, identity: str | None, cursor: str | None, *, with_vector: bool
) -> tuple[Page, DamagedRows]:
    """Return up to `limit` items after `cursor`, and the rows among them that are found damaged now.

    The page names those that belong between its items and cannot be read, whenever that was found.
    """
    if identity is not None and name_problem(identity):
        return Page([], None), {}
    after = 0 if cursor is None else label_of(cursor)
    rows = record.after(after, limit=limit + 1, identity=identity, with_vector=with_vector)
    last = rows[limit - 1][0] if len(rows) > limit else None
    listed = rows[:limit]
    found = {label: (one.item_id, identity) for label, one in listed if not isinstance(one, StoredItem)}
    damaged = {**record.damaged, **found}
    between = {
        label: name
        for label, (name, _) in (damaged if identity is None else of_identity(damaged, identity)).items()
        if after < label and (last is None or label <= last)
    }
    items = [one for label, one in listed if isinstance(one, StoredItem) and label not in between]
    names = [name for _, name in sorted(between.items())]
    return Page(items, None if last is None else str(last), names), found
