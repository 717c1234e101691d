"""From which sizes on something is worth it."""

from dataclasses import dataclass

__all__ = ["Sizes"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What counts as many. Tests take smaller numbers, so that few items take every way.

    Attributes:
        memory_bytes: that an index may take before `auto` saves some.
        scanned_bytes: of vectors, up to which `auto` scans: it takes about a millisecond. What is new gets a
            graph, and large writes wait, from parts of it on.
        scanned_rows: of a filter: up to so many are measured one by one, whatever their share.
        sealed_rows: fewer new ones, 1 at least, are never sealed.
    """

    memory_bytes: int = 2**40
    scanned_bytes: int = 8 * 2**20
    scanned_rows: int = 50_000
    sealed_rows: int = 1_000
