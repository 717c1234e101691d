"""Small collections to test with."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.embedded import EmbeddedCollection

MakeItem: TypeAlias = Callable[..., NewItem]
MakeCollection: TypeAlias = Callable[..., EmbeddedCollection]


@pytest.fixture
def item() -> MakeItem:
    def make(item_id: str | None, vector: Any, identity: str | None = None, **metadata: Any) -> NewItem:
        return NewItem(item_id, identity, np.asarray(vector, np.float32), metadata)

    return make


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[MakeCollection]:
    """Return a function that makes a collection, or opens it again where it is there."""
    opened: list[EmbeddedCollection] = []

    def make(name: str = "people", **config: Any) -> EmbeddedCollection:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            usual: dict[str, Any] = {"dimension": 2, "metric": "euclidean"}
            EmbeddedCollection.create(folder, CollectionConfig(**(usual | config)))
        opened.append(EmbeddedCollection(folder))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
