"""Items that are searched by comparing them all, and filters of which it is known in Python what passes."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from service.gallery.collection import (
    CollectionConfig,
    CollectionMetric,
    Match,
    NewItem,
    SearchOptions,
    Vectors,
)
from service.gallery.fields import FieldType
from service.gallery.filters import parse_filter
from service.gallery.indexing import IndexType

__all__ = [
    "CONFIGS",
    "DAYS",
    "DIMENSION",
    "FILTERS",
    "IDENTITIES",
    "IDS",
    "ITEMS",
    "OPTIONS",
    "SEARCHES",
    "Condition",
    "Item",
    "Model",
    "Search",
    "bulk",
]

DIMENSION = 4
CLOSE = 1e-6  # of float32 vectors, distances of which are summed in float64

Item: TypeAlias = NewItem
Passes: TypeAlias = Callable[[Item], bool]
Condition: TypeAlias = tuple[dict[str, Any], Passes]
Distances: TypeAlias = npt.NDArray[np.float64]

CAMERAS = ["c1", "c2"]
IDENTITIES = st.none() | st.sampled_from(["p", "q", "r"])
IDS = st.sampled_from([f"i{n}" for n in range(30)])
VECTORS = st.tuples(*[st.integers(-1, 1)] * DIMENSION).filter(any)  # few, so that distances are often equal
DAYS = st.integers(0, 3)


def _item(item_id: str, identity: str | None, vector: Sequence[float], camera: str | None, day: int) -> Item:
    metadata = {"day": day} if camera is None else {"camera": camera, "day": day}
    return NewItem(item_id, identity, np.array(vector, np.float32), metadata)


ITEMS = st.builds(_item, IDS, IDENTITIES, VECTORS, st.none() | st.sampled_from(CAMERAS), DAYS)


def bulk(seed: int, count: int) -> list[Item]:
    """Return many items, some of them often drawn, whose vectors lie anywhere."""
    random = np.random.default_rng(seed)
    return [
        _item(
            f"b{random.integers(400)}",
            [None, "p", "q", "r"][random.integers(4)],
            random.standard_normal(DIMENSION).tolist(),
            [None, *CAMERAS][random.integers(3)],
            int(random.integers(4)),
        )
        for _ in range(count)
    ]


_PLAIN: st.SearchStrategy[Condition] = st.one_of(
    st.sampled_from(CAMERAS).map(
        lambda camera: ({"camera": camera}, lambda item: item.metadata.get("camera") == camera)
    ),
    st.sampled_from(CAMERAS).map(
        lambda camera: ({"camera": {"ne": camera}}, lambda item: item.metadata.get("camera") != camera)
    ),
    st.just(({"camera": {"exists": False}}, lambda item: "camera" not in item.metadata)),
    DAYS.map(lambda day: ({"day": {"lt": day}}, lambda item: item.metadata["day"] < day)),
    DAYS.map(lambda day: ({"day": {"in": [day, 3]}}, lambda item: item.metadata["day"] in (day, 3))),
    st.sampled_from("pqr").map(lambda name: ({"identity": name}, lambda item: item.identity == name)),
)


def _not(part: Condition) -> Condition:
    document, passes = part
    return {"not": document}, lambda item: not passes(item)


def _and(parts: Sequence[Condition]) -> Condition:
    return {"and": [one for one, _ in parts]}, lambda item: all(passes(item) for _, passes in parts)


def _or(parts: Sequence[Condition]) -> Condition:
    return {"or": [one for one, _ in parts]}, lambda item: any(passes(item) for _, passes in parts)


def _joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    some = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(parts.map(_not), some.map(_and), some.map(_or))


FILTERS = st.recursive(_PLAIN, _joined, max_leaves=4)


def _config(
    metric: CollectionMetric, index: tuple[IndexType, dict[str, Any]], declared: bool
) -> CollectionConfig:
    fields: dict[str, FieldType] = {"camera": "keyword", "day": "integer"} if declared else {}
    return CollectionConfig(DIMENSION, metric, index_type=index[0], index=index[1], fields=fields)


_CODED: dict[str, Any] = {"quantization": "sq8"}
_INDEXES = [("auto", {}), *[(kind, options) for kind in ("flat", "hnsw", "ivf") for options in ({}, _CODED)]]
CONFIGS = st.builds(
    _config, st.sampled_from(get_args(CollectionMetric)), st.sampled_from(_INDEXES), st.booleans()
)


class Search(NamedTuple):
    """A query, how it is searched with, and what may be found."""

    query: Vectors
    options: SearchOptions
    passes: Passes


def _search(vector: Sequence[int], condition: Condition | None, options: SearchOptions) -> Search:
    document, passes = condition or (None, lambda item: True)
    asked = dataclasses.replace(options, filter=None if document is None else parse_filter(document))
    return Search(np.array(vector, np.float32), asked, passes)


OPTIONS = st.builds(
    SearchOptions,
    k=st.sampled_from([1, 2, 3, 5, 10, 40]),
    group_by=st.sampled_from([None, "identity"]),
    max_distance=st.sampled_from([None, None, None, None, 0.0, 0.7, 1.5, 3.1]),
    exact=st.sampled_from([False, False, False, True]),
)
SEARCHES = st.builds(_search, VECTORS, st.none() | FILTERS, OPTIONS)


@dataclass(frozen=True)
class Model:
    """The items that a collection should hold, in the order of writing, and what searches should find."""

    metric: CollectionMetric
    items: dict[str, Item]

    def written(self, items: Iterable[Item]) -> "Model":
        """Return it with some items, each of which is the last one written."""
        now = dict(self.items)
        for item in items:
            assert item.id is not None
            now.pop(item.id, None)
            now[item.id] = item
        return Model(self.metric, now)

    def without(self, gone: Callable[[Item], bool]) -> "Model":
        """Return it without the items of which that is true."""
        return Model(self.metric, {name: item for name, item in self.items.items() if not gone(item)})

    def assert_found(self, matches: Sequence[Match], search: Search, *, exact: bool) -> None:
        """Compare an answer with all items; among equal distances any items may be the last ones.

        Args:
            matches: the answer.
            search: what was asked.
            exact: whether nothing nearer may be missing.
        """
        query, options, passes = search
        far = self._far(query, passes)
        limit = options.max_distance
        if limit is not None:  # at the limit itself rounding decides
            sure = {item_id for item_id, distance in far.items() if distance < limit - CLOSE}
            assert sure <= {match.id for match in matches} or len(matches) == options.k or options.group_by
            assert all(match.distance <= limit for match in matches)
            at_limit = {match.id for match in matches} - sure
            far = {item_id: distance for item_id, distance in far.items() if item_id in sure | at_limit}
        expected = sorted(far.values())
        if options.group_by is not None:
            expected = self._best(far)
            assert len({match.identity for match in matches}) == len(matches)
        distances = [match.distance for match in matches]
        assert distances == sorted(distances)
        assert len({match.id for match in matches}) == len(matches) == min(options.k, len(expected))
        assert [match.identity for match in matches] == [self.items[match.id].identity for match in matches]
        np.testing.assert_allclose(distances, [far[match.id] for match in matches], atol=CLOSE)
        if exact:
            np.testing.assert_allclose(distances, expected[: options.k], atol=CLOSE)

    def _best(self, far: dict[str, float]) -> list[float]:
        best: dict[str, float] = {}
        for item_id, distance in far.items():
            if (identity := self.items[item_id].identity) is not None:
                best[identity] = min(distance, best.get(identity, math.inf))
        return sorted(best.values())

    def _far(self, query: Vectors, passes: Passes) -> dict[str, float]:
        """Return the distance of each item that passes."""
        passing = {item_id: item for item_id, item in self.items.items() if passes(item)}
        if not passing:
            return {}
        rows = np.array([item.vector for item in passing.values()], np.float64)
        return dict(zip(passing, self._distances(query.astype(float), rows).tolist(), strict=True))

    def _distances(self, query: Distances, rows: Distances) -> Distances:
        if self.metric == "inner_product":
            distances = -(rows @ query)
        elif self.metric == "cosine":
            distances = 1 - rows @ query / np.linalg.norm(query) / np.linalg.norm(rows, axis=1)
        else:
            distances = np.linalg.norm(rows - query, axis=1)
        return np.asarray(distances, np.float64)
