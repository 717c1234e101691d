"""What is said of identities, and what of a collection is about them."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Erased", "Identities", "Identity", "IdentityPage", "Merged"]


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity: how many items it has, and when the first and the last were written, in us since 1970."""

    name: str
    items: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class IdentityPage:
    """Some identities by name, and the cursor of the next page (None at the end)."""

    identities: list[Identity]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Erased:
    """How many items were deleted, and whether no file holds anything of them any more."""

    deleted: int
    erased: bool


@dataclass(frozen=True, slots=True)
class Merged:
    """How many items were given to another identity, and the ids of its damaged ones, which are left out."""

    items: int
    damaged: tuple[str | None, ...] = ()


class Identities(Protocol):
    """What a collection does with the identities of its items; see `Collection`."""

    def identities(self, *, limit: int, cursor: str | None = None) -> IdentityPage:
        """Return up to `limit` identities after `cursor`, in the order of their names."""

    def identity(self, name: str) -> Identity | None:
        """Return an identity, or None where no item has it."""

    def damaged_of(self, name: str) -> tuple[str | None, ...]:
        """Return ids of damaged items that are an identity's, or may be, as far as is known; 100 at most."""

    def erase(self, name: str) -> Erased:
        """Delete an identity's items, and whatever any file holds of them.

        Where a file cannot be written over at once, being made or read, that follows in the background, and
        `stats().erasing` says so until then. Raises StorageError as `delete_where` does.
        """

    def merge(self, name: str, into: str) -> Merged:
        """Give the items of an identity to another.

        They keep their ids, pictures and metadata, and come last in the order of writing. Damaged ones are
        left out as before, and are the other's from then on: erasing it erases them.

        Raises:
            RequestError: no identity can be called `into`.
            StorageError: the disk refused; nothing was changed.
        """
