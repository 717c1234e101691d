"""Groups are complete, however many items of one identity are nearer than all others."""

from collections.abc import Callable

import numpy as np
import pytest

from service.gallery.collection import NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.options import LeftOut

MakeItem = Callable[..., NewItem]
MakeCollection = Callable[..., EmbeddedCollection]
QUERY = np.zeros((1, 2), np.float32)
CROWD = 800


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
