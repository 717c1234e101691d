"""Names of collections, and of backups: what they may be, and what is said of one that is not there."""

import difflib
import re
from collections.abc import Collection, Iterable

from service.errors import NotFoundError, RequestError

__all__ = ["NAME", "chosen", "not_found", "refuse_name"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def refuse_name(name: str, what: str) -> None:
    """Raise RequestError where a name is none; `what` it should name is said in words."""
    if not NAME.fullmatch(name):
        raise RequestError(
            f"{name[:80]!r} cannot name a {what}; use 1 to 64 letters, digits, '_', '.' or '-', "
            "the first a letter or digit."
        )


def chosen(wanted: Iterable[str], known: Collection[str], what: str) -> list[str]:
    """Return the wanted names, each once; all that are known where none is wanted.

    Raises:
        NotFoundError: one is not known.
    """
    names = list(dict.fromkeys(wanted)) or list(known)
    for name in names:
        if name not in known:
            raise not_found(name, known, what)
    return names


def not_found(name: str, known: Iterable[str], what: str) -> NotFoundError:
    """Return the error that names those that are close."""
    close = difflib.get_close_matches(name, list(known))
    hint = f" Did you mean {', '.join(map(repr, close))}?" if close else ""
    return NotFoundError(f"There is no {what} {name[:80]!r}.{hint}")
