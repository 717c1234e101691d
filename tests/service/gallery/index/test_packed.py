"""What codes propose is exact: no row that is not proposed is nearer than is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.buffers import Integers
from service.gallery.index.codes import Codes, Order
from service.gallery.index.flat import FlatIndex
from service.gallery.index.packed import Packed
from service.gallery.index.proposing import TakesLongError
from tests.service.gallery.index.test_flat import METRICS, assert_nearest, filled, rows, tolerance
from tests.service.gallery.index.test_flat import true_distances as truth

ROWS = 2_000


def codes_of(index: FlatIndex, *, order: bool = False) -> Codes:
    codes = Codes.of(index.vectors)
    assert codes is not None
    return codes.laid(Order.by("n", np.random.default_rng(9).permutation(index.rows))) if order else codes


def some(count: int, *, seed: int = 3) -> Integers:
    return np.random.default_rng(seed).choice(ROWS, count, replace=False)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(("queries", "order"), [(1, False), (1, True), (5, True)])
@pytest.mark.parametrize(("count", "k"), [(1_000, 1), (1_000, 10), (1_600, 100), (120, 10)])
def test_the_nearest_of_some_rows_are_those_of_brute_force(
    metric: CollectionMetric, scale: float, queries: int, order: bool, count: int, k: int
) -> None:
    """1,000 rows of 2,000 are taken out, 1,600 are scanned with the others; 120 are too few to propose 64."""
    vectors = rows(1, (ROWS, 24)) * np.float32(scale)
    asked, among = rows(2, (queries, 24)) * np.float32(scale), some(count)
    index = filled(metric, vectors)
    codes = codes_of(index, order=order)
    packed = Packed.of(codes, among)
    assert (packed.copied_bytes > 0) == (count < 1_600)
    others = np.setdiff1d(np.arange(ROWS), among)
    for query, hits in zip(asked, index.search_at(asked, k, among, packed=packed), strict=True):
        distances = truth(metric, query, vectors)
        distances[others] = np.inf
        assert_nearest(hits, distances, k, tolerance(metric, query, vectors))
    assert (codes.uses, codes.misses) == (int(count > 120), 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("fetch", [1, 20])
@pytest.mark.parametrize(("count", "order"), [(90, False), (90, True), (150, True)])
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([1e-4, 1e-2, 1.0]), far=st.booleans())
def test_no_row_is_nearer_than_the_floor_that_is_not_proposed(
    metric: CollectionMetric, fetch: int, count: int, order: bool, seed: int, spread: float, far: bool
) -> None:
    random = np.random.default_rng(seed)
    vectors = (random.standard_normal((200, 20)) * spread + random.standard_normal(20)).astype(np.float32)
    if far:
        vectors[7] = 1e4
    index = filled(metric, vectors)
    queries = index.measure.prepared(random.standard_normal((3, 20)).astype(np.float32))
    among = random.choice(200, count, replace=False)
    packed = Packed.of(codes_of(index, order=order), among)
    assert (packed.copied_bytes > 0) == (count < 150)
    for asked in (queries, queries[:1]):
        found, floors = packed.nearest(asked, fetch, index.measure, 1)
        for query, positions, floor in zip(asked, found, floors, strict=True):
            left = np.setdiff1d(among, positions)
            assert index.measure.distances(query, index.vectors[left]).min() >= floor
            assert floor > -np.inf


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_lie_too_close_for_codes_are_told_by_themselves(metric: CollectionMetric) -> None:
    vectors = (rows(3, (ROWS, 24)) * 1e-5 + rows(4, (1, 24))).astype(np.float32)
    index, among = filled(metric, vectors), some(1_500)
    codes = codes_of(index)
    packed = Packed.of(codes, among)
    for number in range(16):
        assert codes.telling
        (hits,) = index.search_at(vectors[number : number + 1], 5, among, packed=packed)
        (right,) = index.search_at(vectors[number : number + 1], 5, among)
        assert hits.labels.tolist() == right.labels.tolist()
    assert (codes.uses, codes.misses) == (16, 16)
    assert not codes.telling


@pytest.mark.parametrize(
    ("metric", "scale"),
    [(one, scale) for one in METRICS for scale in (0.0, 1e-38, 1e38) if scale or one != "cosine"],
)
def test_a_query_of_another_length_is_answered_all_the_same(metric: CollectionMetric, scale: float) -> None:
    vectors, among = rows(5, (ROWS, 8)), some(1_000)
    query = (rows(6, (1, 8)) / 8 * scale).astype(np.float32)
    index = filled(metric, vectors)
    packed = Packed.of(codes_of(index), among)
    for asked in (query, np.repeat(query, 2, axis=0)):
        found = index.search_at(asked, 5, among, packed=packed)
        right = index.search_at(asked, 5, among)
        assert [one.labels.tolist() for one in found] == [one.labels.tolist() for one in right]


def test_rows_that_were_removed_are_not_found() -> None:
    vectors, query = rows(7, (ROWS, 16)), rows(8, (1, 16))
    index = filled("cosine", vectors)
    codes = codes_of(index)
    (first,) = index.search_at(query, 20, np.arange(ROWS), packed=Packed.of(codes, np.arange(ROWS)))
    left = index.without(first.labels[:10])
    among = left.positions_of(left.labels[left.alive])
    (then,) = left.search_at(query, 10, among, packed=Packed.of(codes, among))
    assert then.labels.tolist() == first.labels[10:].tolist()


def test_what_is_next_to_each_other_in_its_order_is_not_copied() -> None:
    vectors: Vectors = rows(1, (ROWS, 24))
    index = filled("euclidean", vectors)
    order = np.random.default_rng(9).permutation(ROWS)
    codes = codes_of(index, order=True)
    among = np.sort(order[300:900])
    packed = Packed.of(codes, among)
    assert packed.copied_bytes == 0
    assert sorted(packed.ids.tolist()) == among.tolist()


def test_what_is_to_be_brief_is_given_up_where_codes_do_not_tell() -> None:
    vectors = (rows(3, (ROWS, 24)) * 1e-5 + rows(4, (1, 24))).astype(np.float32)
    vectors[: ROWS // 2] = rows(5, (ROWS // 2, 24))
    index = filled("euclidean", vectors)
    codes = codes_of(index)
    apart, close = np.arange(ROWS // 2), np.arange(ROWS // 2, ROWS)
    (hits,) = index.search_at(vectors[:1], 5, apart, packed=Packed.of(codes, apart), at_once=True)
    assert hits.labels[0] == 1
    with pytest.raises(TakesLongError):
        index.search_at(vectors[-1:], 5, close, packed=Packed.of(codes, close), at_once=True)
    assert (codes.uses, codes.misses) == (1, 0)  # whoever takes the time for it counts
