"""What a collection was made for, beside what somebody wants to make."""

import dataclasses

import orjson

from service.errors import ConflictError
from service.gallery.collection import Collection, CollectionConfig

__all__ = ["refuse_difference"]

_NAMES = {"index_type": "index.type"}  # where requests have it elsewhere


def refuse_difference(existing: Collection, config: CollectionConfig) -> None:
    """Raise ConflictError, which says what differs, where a collection has another configuration."""
    before, wanted = dataclasses.asdict(existing.config), dataclasses.asdict(config)
    differences = [
        f"{_NAMES.get(name, name)} is {_as_json(before[name])}, not {_as_json(wanted[name])}"
        for name in before
        if before[name] != wanted[name]
    ]
    if differences:
        raise ConflictError(
            f"The collection {existing.name!r} exists with another configuration: {'; '.join(differences)}. "
            "Use another name, or delete it first."
        )


def _as_json(value: object) -> str:
    return orjson.dumps(value).decode()
