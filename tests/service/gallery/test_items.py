"""What an item must be to be written; each one that is not is rejected alone."""

import time
from typing import Any

import numpy as np
import pytest

from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.fields import FieldType
from service.gallery.items import ItemRejectedError, new_id, prepare

FIELDS: dict[str, FieldType] = {
    "word": "keyword",
    "whole": "integer",
    "real": "float",
    "flag": "boolean",
    "time": "datetime",
}
CONFIG = CollectionConfig(dimension=3, metric="cosine", fields=FIELDS)


def new(
    item_id: str | None = "a", identity: str | None = None, vector: Any = (1, 2, 3), **metadata: Any
) -> NewItem:
    return NewItem(item_id, identity, np.array(vector, np.float32), metadata)


def nested(depth: int) -> Any:
    return [] if depth == 1 else [nested(depth - 1)]


@pytest.mark.parametrize(
    "item",
    [
        new("x" * 256),
        new("a b.c:é\U0001f600", "..a"),
        new(None),
        new(vector=(1e-45, 0, 0)),
        new(vector=(3e38, -3e38, 3e38)),
        NewItem("a", None, np.ones(3, np.float32), {"": [1, 2.5, None, {"b": True}], "odd\n": "x"}),
        new(deep=nested(31)),
        new(word="", whole=-(2**63), real=3, flag=False, time="2024-05-01T10:00:00+02:00"),
        new(word=None, whole=None),
    ],
)
def test_item_that_fits_is_prepared(item: NewItem) -> None:
    row = prepare(item, CONFIG)
    assert item.id is None or row.id == item.id
    assert len(row.fields) == len(FIELDS)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (new(""), "id has 0 characters"),
        (new("x" * 257), "id has 257 characters"),
        (new("a/b"), "'/'"),
        (new("a\nb"), "control character"),
        (new("a\x85"), "control character"),
        (new("\udc00"), "surrogate"),
        (new(".."), "only dots"),
        (new("a", ""), "identity has 0 characters"),
        (new("a", "b/c"), "identity holds"),
        (new(vector=(1, 2)), "has 2 numbers; this collection takes 3"),
        (new(vector=[[1, 2, 3]]), "1 x 3"),
        (new(vector=(1, float("nan"), 2)), "NaN"),
        (new(vector=(1, float("inf"), 2)), "infinity"),
        (new(vector=(0, -0.0, 0)), "zero"),
        (new(x={1, 2}), "type set"),
        (new(x=float("nan")), "finite"),
        (new(x=[2**63]), r"metadata.x\[0\] is no finite number of at most 64 bits"),
        (new(x={1: 2}), "not a string"),
        (new(x="a\0"), "NUL"),
        (NewItem("a", None, np.ones(3, np.float32), {"a\0": 1}), "NUL"),
        (new(x="\ud800"), "surrogate"),
        (new(x="x" * 70_000), "bytes"),
        (new(x=nested(32)), "nested"),
        (new(x=np.float64(1)), "finite number|type float64"),
        (new(word=1), "field 'word' takes a string"),
        (new(whole=1.5), "field 'whole' takes a whole number"),
        (new(whole=True), "field 'whole' takes a whole number"),
        (new(real="1"), "field 'real' takes a number"),
        (new(flag=1), "field 'flag' takes true or false"),
        (new(time="yesterday"), "field 'time' takes an ISO 8601"),
        (new(time=0), "field 'time' takes an ISO 8601"),
    ],
)
def test_item_that_does_not_fit_is_rejected_with_its_reason(item: NewItem, words: str) -> None:
    with pytest.raises(ItemRejectedError, match=words):
        prepare(item, CONFIG)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T23:59:59.999999", -1),
        ("0001-01-01T00:00:00+14:00", -62_135_596_800_000_000 - 14 * 3_600_000_000),
    ],
)
def test_times_are_stored_as_microseconds_of_their_instant(text: str, microseconds: int) -> None:
    assert prepare(new(time=text), CONFIG).fields[-1] == microseconds


def test_zero_vector_fits_where_the_metric_takes_it() -> None:
    config = CollectionConfig(dimension=3, metric="euclidean")
    assert prepare(new(vector=(0, 0, 0)), config).vector.tolist() == [0, 0, 0]


def test_new_ids_differ_and_grow_with_time() -> None:
    first = new_id()
    time.sleep(0.003)
    later = [new_id() for _ in range(1000)]
    assert len({first, *later}) == 1001
    assert first < min(later)
    assert len(first) == 32
