"""What queries must be to be searched with."""

import numpy as np

from models.errors import DomainError, NonFiniteError
from service.errors import DimensionMismatchError
from service.gallery.collection import CollectionConfig, Vectors

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
    finite = np.isfinite(queries).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise NonFiniteError(
            f"Query {row} holds NaN, infinity or a number beyond 3.4e38, the largest of float32.",
            argument="queries",
            row=row,
        )
    if config.metric == "cosine" and not (directed := queries.any(axis=1)).all():
        row = int(np.argmin(directed))
        raise DomainError(
            f"Query {row} is zero and has no direction, which cosine needs.", argument="queries", row=row
        )
