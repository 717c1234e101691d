"""What a collection was made for, beside what somebody wants to make."""

import dataclasses

from service.errors import ConflictError
from service.gallery.collection import Collection, CollectionConfig

__all__ = ["refuse_difference"]


def refuse_difference(existing: Collection, config: CollectionConfig) -> None:
    """Raise ConflictError, which says what differs, where a collection has another configuration."""
    differences = [
        f"{field.name} is {getattr(existing.config, field.name)!r}, not {getattr(config, field.name)!r}"
        for field in dataclasses.fields(CollectionConfig)
        if getattr(existing.config, field.name) != getattr(config, field.name)
    ]
    if differences:
        raise ConflictError(
            f"The collection {existing.name!r} exists with another configuration: {'; '.join(differences)}. "
            "Use another name, or delete it first."
        )
