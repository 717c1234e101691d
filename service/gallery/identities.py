"""What is said of identities."""

from dataclasses import dataclass

__all__ = ["Erased", "Identity", "IdentityPage", "Merged"]


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
