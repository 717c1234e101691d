"""Cursors of pages: where the next one begins."""

import re

from service.errors import RequestError

__all__ = ["label_of"]


def label_of(cursor: str) -> int:
    """Return the label after which a page of items begins.

    Raises:
        RequestError: no page gave this cursor.
    """
    if not re.fullmatch("[0-9]{1,18}", cursor):
        raise RequestError(f"{cursor[:40]!r} is no cursor; take the one that the last page gave.")
    return int(cursor)
