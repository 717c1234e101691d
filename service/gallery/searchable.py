"""What queries must be to be searched with."""

import math

import numpy as np

from models.errors import DomainError, NonFiniteError
from service.errors import DimensionMismatchError
from service.gallery.collection import CollectionConfig, Vectors
from service.gallery.index.measuring import squares

__all__ = ["refuse_unsearchable"]


def refuse_unsearchable(queries: Vectors, config: CollectionConfig, name: str) -> None:
    """Refuse queries that a collection cannot compare; see `Collection.search` for what is raised."""
    if queries.shape[1] != config.dimension:
        raise DimensionMismatchError(
            f"The queries have {queries.shape[1]} numbers; {name!r} takes {config.dimension}.",
            expected=config.dimension,
            got=queries.shape[1],
            argument="queries",
        )
    least = 0.0 if config.metric == "cosine" else -1.0
    if all(least < square < math.inf for square in squares(queries).tolist()):  # of float32, it cannot overflow
        return
    finite = np.isfinite(queries).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise NonFiniteError(
            f"Query {row} holds NaN or infinity; every number must be finite.",
            argument="queries",
            row=row,
        )
    row = int(np.argmin(queries.any(axis=1)))
    raise DomainError(
        f"Query {row} is zero and has no direction, which cosine needs.", argument="queries", row=row
    )
