"""Groups are complete, however many items of one identity are nearer than all others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.gallery.collection import NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.options import LeftOut
from tests.service.gallery.index.galleries import DIMENSION, embeddings

MakeItem = Callable[..., NewItem]
MakeCollection = Callable[..., EmbeddedCollection]
QUERY = np.zeros((1, 2), np.float32)
CROWD = 800
NARROW = [
    ("flat", {}),
    ("flat", {"quantization": "sq8"}),
    ("hnsw", {"m": 4, "ef_construction": 8, "ef_search": 1}),
    ("hnsw", {"m": 4, "ef_construction": 8, "ef_search": 1, "quantization": "sq8"}),
    ("ivf", {"nprobe": 1}),
    ("ivf", {"nprobe": 1, "quantization": "sq8"}),
]


@pytest.mark.parametrize("crowds", [1, 9])
def test_each_identity_comes_once_behind_crowds_of_others(
    collection: MakeCollection, item: MakeItem, crowds: int
) -> None:
    """The crowds stand in rings, one behind the other, and ten single ones behind them."""
    people = collection()
    near = [
        item(f"{ring}-{n}", [ring + n / CROWD, 0], f"crowd{ring}")
        for ring in range(crowds)
        for n in range(CROWD)
    ]
    far = [item(f"far{n}", [100 + n, 0], f"far{n}") for n in range(10)]
    people.upsert([*near, *far, item("nobody", [0, 0])])
    expected = [*(f"{ring}-0" for ring in range(crowds)), *(f"far{n}" for n in range(10))]

    def found(k: int, left_out: LeftOut | None = None, **options: object) -> list[str]:
        wanted = SearchOptions(k=k, group_by="identity", **options)  # type: ignore[arg-type]
        (matches,) = people.search(QUERY, wanted, left_out=[] if left_out is None else [left_out])
        return [match.id for match in matches]

    assert found(crowds + 10) == expected
    assert found(crowds + 4) == expected[: crowds + 4]
    assert found(99) == expected
    assert found(99, max_distance=102.0) == expected[:-7]
    assert found(99, filter=parse_filter({"identity": {"ne": "crowd0"}})) == expected[1:]
    assert found(99, LeftOut(frozenset({"0-0"}))) == ["0-1", *expected[1:]]
    assert found(99, LeftOut(shared=parse_filter({"identity": "crowd0"}))) == expected[1:]


@pytest.mark.parametrize(("kind", "options"), NARROW)
def test_groups_are_exact_whatever_the_index(
    kind: Any, options: dict[str, Any], collection: MakeCollection, item: MakeItem
) -> None:
    """The index is asked as narrowly as can be, and one row far away makes its codes coarse."""
    vectors = np.concatenate([np.full((1, DIMENSION), 1e5, np.float32), embeddings(1_500, seed=1)])
    identities = np.arange(len(vectors)) % 400
    people = collection(dimension=DIMENSION, index_type=kind, index=options)
    people.upsert([item(f"i{n}", vector, f"p{n % 400}") for n, vector in enumerate(vectors[:1_200])])
    assert people.seal()
    people.upsert([item(f"i{n}", vectors[n], f"p{n % 400}") for n in range(1_200, len(vectors))])
    queries = embeddings(50, seed=2)
    found = people.search(queries, SearchOptions(k=10, group_by="identity"))
    for query, matches in zip(queries, found, strict=True):
        order = np.argsort(np.linalg.norm(vectors.astype(float) - query, axis=1))
        firsts = np.sort(np.unique(identities[order], return_index=True)[1])[:10]
        assert [match.id for match in matches] == [f"i{row}" for row in order[firsts]]
