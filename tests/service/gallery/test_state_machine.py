"""Any sequence of calls on a collection, against a list of items that is searched by brute force.

`make verify-machine` takes 2,000 steps and more.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.gallery.collection import CollectionConfig, CollectionMetric, Match, NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.options import LeftOut

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "16"))
STEPS = int(os.environ.get("MACHINE_STEPS", "25"))
CLOSE = 1e-6  # of float32 vectors, distances of which are summed in float64

Item: TypeAlias = NewItem
Passes: TypeAlias = Callable[[Item], bool]

IDS = st.sampled_from([f"i{n}" for n in range(30)])
IDENTITIES = st.none() | st.sampled_from(["p", "q", "r"])
CAMERAS = st.none() | st.sampled_from(["c1", "c2"])
COORDINATES = st.tuples(*[st.integers(-2, 2)] * 2).filter(any)  # few, so that distances are often equal
DAYS = st.integers(0, 3)


def _metadata(camera: str | None, day: int) -> dict[str, Any]:
    return {"day": day} if camera is None else {"camera": camera, "day": day}


ITEMS = st.builds(
    lambda item_id, identity, vector, camera, day: NewItem(
        item_id, identity, np.array(vector, np.float32), _metadata(camera, day)
    ),
    IDS,
    IDENTITIES,
    COORDINATES,
    CAMERAS,
    DAYS,
)
FILTERS: st.SearchStrategy[tuple[dict[str, Any], Passes]] = st.one_of(
    st.sampled_from(["c1", "c2"]).map(
        lambda camera: ({"camera": camera}, lambda item: item.metadata.get("camera") == camera)
    ),
    st.sampled_from(["c1", "c2"]).map(
        lambda camera: ({"camera": {"ne": camera}}, lambda item: item.metadata.get("camera") != camera)
    ),
    DAYS.map(lambda day: ({"day": {"lt": day}}, lambda item: item.metadata["day"] < day)),
    st.sampled_from("pqr").map(lambda name: ({"identity": name}, lambda item: item.identity == name)),
    DAYS.map(
        lambda day: (
            {"or": [{"day": day}, {"camera": {"exists": False}}]},
            lambda item: item.metadata["day"] == day or "camera" not in item.metadata,
        )
    ),
)
METRICS: tuple[CollectionMetric, ...] = ("euclidean", "cosine", "inner_product")


class Gallery(RuleBasedStateMachine):
    """A collection, and the items that it should hold in the order of writing."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.items: dict[str, Item] = {}

    @initialize(metric=st.sampled_from(METRICS), declared=st.booleans())
    def create(self, metric: CollectionMetric, declared: bool) -> None:
        self.metric = metric
        fields = {"camera": "keyword", "day": "integer"} if declared else {}
        config = CollectionConfig(dimension=2, metric=metric, fields=cast("dict[str, Any]", fields))
        EmbeddedCollection.create(self.folder, config)
        self.collection = EmbeddedCollection(self.folder)

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
        shutil.rmtree(self.folder)

    @rule(items=st.lists(ITEMS, min_size=1, max_size=12))
    def upsert(self, items: list[Item]) -> None:
        for item, written in zip(items, self.collection.upsert(items), strict=True):
            assert item.id is not None
            assert written.status == ("replaced" if item.id in self.items else "created")
            self.items.pop(item.id, None)  # what is written again comes later in the order
            self.items[item.id] = item

    @rule(ids=st.lists(IDS, max_size=6))
    def delete(self, ids: list[str]) -> None:
        assert self.collection.delete(ids) == len({item_id for item_id in ids if item_id in self.items})
        self.items = {item_id: item for item_id, item in self.items.items() if item_id not in ids}

    @rule(condition=FILTERS)
    def delete_where(self, condition: tuple[dict[str, Any], Passes]) -> None:
        document, passes = condition
        gone = {item_id for item_id, item in self.items.items() if passes(item)}
        assert self.collection.delete_where(parse_filter(document)) == len(gone)
        self.items = {item_id: item for item_id, item in self.items.items() if item_id not in gone}

    @rule()
    def open_again(self) -> None:
        self.collection.close()
        self.collection = EmbeddedCollection(self.folder)

    @rule(limit=st.integers(1, 10), identity=IDENTITIES)
    def page(self, limit: int, identity: str | None) -> None:
        expected = [item_id for item_id, item in self.items.items() if identity in (None, item.identity)]
        listed: list[str] = []
        cursor: str | None = None
        while True:
            page = self.collection.page(limit=limit, identity=identity, cursor=cursor)
            listed += [item.id for item in page.items]
            if (cursor := page.cursor) is None:
                break
        assert listed == expected

    @rule(
        query=COORDINATES,
        k=st.integers(1, 40),
        condition=st.none() | FILTERS,
        group_by=st.sampled_from([None, "identity"]),
        max_distance=st.none() | st.sampled_from([0.0, 0.7, 1.5, 3.1]),
        exact=st.booleans(),
    )
    def search(
        self,
        query: tuple[int, int],
        k: int,
        condition: tuple[dict[str, Any], Passes] | None,
        group_by: Literal["identity"] | None,
        max_distance: float | None,
        exact: bool,
    ) -> None:
        document, passes = condition or (None, lambda item: True)
        options = SearchOptions(
            k=k,
            filter=None if document is None else parse_filter(document),
            group_by=group_by,
            max_distance=max_distance,
            exact=exact,
        )
        self.assert_found(np.array(query, np.float32), options, passes, LeftOut())

    @precondition(lambda self: self.items)
    @rule(
        data=st.data(),
        k=st.integers(1, 40),
        group_by=st.sampled_from([None, "identity"]),
        shared=st.sampled_from([(), ("camera",), ("day",), ("camera", "identity"), ("camera", "day")]),
    )
    def search_by_id(
        self, data: st.DataObject, k: int, group_by: Literal["identity"] | None, shared: tuple[str, ...]
    ) -> None:
        own = self.items[data.draw(st.sampled_from(sorted(self.items)))]
        assert own.id is not None
        known = {**own.metadata, "identity": own.identity}
        fields = [field for field in shared if known.get(field) is not None]

        def passes(item: Item) -> bool:
            same = [
                {**item.metadata, "identity": item.identity}.get(field) == known[field] for field in fields
            ]
            return item.id != own.id and not (fields and all(same))

        condition = parse_filter({field: known[field] for field in fields}) if fields else None
        options = SearchOptions(k=k, group_by=group_by)
        self.assert_found(own.vector, options, passes, LeftOut(frozenset({own.id}), condition))

    @invariant()
    def holds_what_it_should(self) -> None:
        if hasattr(self, "collection"):
            assert self.collection.stats().items == len(self.items)

    def assert_found(
        self, query: np.ndarray[Any, Any], options: SearchOptions, passes: Passes, left_out: LeftOut
    ) -> None:
        """Compare a search with the sorted list; among equal distances any items may be the last ones."""
        (matches,) = self.collection.search(query[np.newaxis], options, left_out=[left_out])
        far = {item_id: self.distance(query, item) for item_id, item in self.items.items() if passes(item)}
        limit = options.max_distance
        if limit is not None:  # at the limit itself rounding decides
            sure = {item_id for item_id, distance in far.items() if distance < limit - CLOSE}
            assert sure <= {match.id for match in matches} or len(matches) == options.k or options.group_by
            assert all(match.distance <= limit for match in matches)
            at_limit = {match.id for match in matches} - sure
            far = {item_id: distance for item_id, distance in far.items() if item_id in sure | at_limit}
        self.assert_nearest(matches, far, options)

    def assert_nearest(self, matches: list[Match], far: dict[str, float], options: SearchOptions) -> None:
        expected = sorted(far.values())
        if options.group_by is not None:
            best: dict[str, float] = {}
            for item_id, distance in far.items():
                if (identity := self.items[item_id].identity) is not None:
                    best[identity] = min(distance, best.get(identity, math.inf))
            expected = sorted(best.values())
            assert len({match.identity for match in matches}) == len(matches)
        assert len({match.id for match in matches}) == len(matches)
        assert [match.identity for match in matches] == [self.items[match.id].identity for match in matches]
        np.testing.assert_allclose([match.distance for match in matches], expected[: options.k], atol=CLOSE)
        np.testing.assert_allclose(
            [match.distance for match in matches], [far[match.id] for match in matches], atol=CLOSE
        )

    def distance(self, query: np.ndarray[Any, Any], item: Item) -> float:
        a, b = query.astype(float), item.vector.astype(float)
        if self.metric == "inner_product":
            return float(-(a @ b))
        if self.metric == "cosine":
            return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        return float(np.linalg.norm(a - b))


Gallery.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize=True
)
TestGallery = Gallery.TestCase
