"""What a search may ask for beyond the nearest: what is left out of it, and re-ranking."""

from dataclasses import dataclass

from service.errors import InvalidFieldsError
from service.gallery.filters import Filter

__all__ = ["MAX_RERANKED", "NOTHING", "LeftOut", "Rerank"]

MAX_RERANKED = 1_000  # the time grows with its square


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a query must not find.

    Attributes:
        ids: items by id.
        shared: items that pass this filter; None for none.
    """

    ids: frozenset[str] = frozenset()
    shared: Filter | None = None


NOTHING = LeftOut()


@dataclass(frozen=True, slots=True)
class Rerank:
    """k-reciprocal re-ranking of the nearest items of each query; see `models.reranking`.

    Attributes:
        top: how many of the nearest are re-ranked, k at least.
        k1: neighbours that must be mutual.
        k2: neighbours over which is averaged.
        weight: of the distance itself, 0 to 1.

    Raises:
        InvalidFieldsError: one is out of range.
    """

    top: int = 100
    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        wrong = [
            (f"/rerank/{name}", f"must be 1 to {MAX_RERANKED:,}")
            for name in ("top", "k1", "k2")
            if not 1 <= getattr(self, name) <= MAX_RERANKED
        ]
        if not 0 <= self.weight <= 1:
            wrong.append(("/rerank/weight", "must be 0 to 1"))
        if wrong:
            sentence = "; ".join(f"{pointer} {detail}" for pointer, detail in wrong)
            raise InvalidFieldsError(f"The answer cannot be re-ranked so: {sentence}.", wrong)
