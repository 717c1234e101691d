"""What counts as found by an index that misses some."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from service.gallery.collection import CollectionConfig, Match, NewItem, SearchOptions, Vectors
from service.gallery.embedded import EmbeddedCollection
from service.gallery.options import LeftOut
from service.gallery.recall import compare, summary

MakeItem = Callable[..., NewItem]


class Forgetful(EmbeddedCollection):
    """Finds no item with an odd id unless it is told to be exact."""

    def search(
        self, queries: Vectors, options: SearchOptions, *, left_out: Sequence[LeftOut] = ()
    ) -> Sequence[Sequence[Match]]:
        if options.exact:
            return super().search(queries, options, left_out=left_out)
        found = super().search(queries, SearchOptions(k=1000), left_out=left_out)
        return [[match for match in one if int(match.id) % 2 == 0][: options.k] for one in found]


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Forgetful]:
    EmbeddedCollection.create(tmp_path, CollectionConfig(dimension=1, metric="euclidean"))
    forgetful = Forgetful(tmp_path)
    yield forgetful
    forgetful.close()


def test_half_is_found_where_half_is_missed(forgetful: Forgetful, item: MakeItem) -> None:
    forgetful.upsert([item(str(n), [n]) for n in range(20)])
    compared = compare(forgetful, np.array([[-1], [-2], [30]], np.float32), SearchOptions(k=4))
    assert [one.recall for one in compared] == [0.5, 0.5, 0.5]
    recall, interval = summary(compared)
    assert recall == 0.5
    assert interval is not None
    assert interval.low <= 0.5 <= interval.high


def test_another_item_at_the_same_distance_counts_as_found(forgetful: Forgetful, item: MakeItem) -> None:
    forgetful.upsert([item(str(n), [1]) for n in range(20)])
    (one,) = compare(forgetful, np.array([[0]], np.float32), SearchOptions(k=4))
    assert one.recall == 1
