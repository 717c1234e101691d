"""A collection on this machine: writes, reads, searches, and all of them at once."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from models.errors import DomainError, NonFiniteError
from service.errors import (
    DimensionMismatchError,
    FilterError,
    InvalidFieldsError,
    NotReadyError,
    RequestError,
)
from service.gallery.collection import ANOTHER_REJECTED, Collection, Match, NewItem, SearchOptions, StoredItem
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.options import NOTHING, LeftOut

MakeItem = Callable[..., NewItem]
MakeCollection = Callable[..., EmbeddedCollection]


def ids(found: Sequence[Match | StoredItem]) -> list[str]:
    return [one.id for one in found]


def find(collection: Collection, query: Any, **options: Any) -> list[Match]:
    (matches,) = collection.search(np.array([query], np.float32), SearchOptions(**options))
    return list(matches)


def test_what_is_written_is_read_back_and_found(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    written = people.upsert([item("a", [3, 4], "anna", camera="c1", n=1.0), item(None, [0, 1])])
    assert [one.status for one in written] == ["created", "created"]
    stored = people.get("a", with_vector=True)
    assert stored is not None
    assert stored.vector is not None
    assert (stored.identity, stored.metadata, stored.vector.tolist()) == (
        "anna",
        {"camera": "c1", "n": 1.0},
        [3, 4],
    )
    assert people.get("a") == StoredItem("a", "anna", {"camera": "c1", "n": 1.0})
    assert [people.get(name) for name in ("b", "", "/", "\ud800")] == [None] * 4
    near, far = find(people, [0, 0], with_metadata=True, with_vector=True)
    assert (near.id, near.distance, near.metadata) == (written[1].id, 1.0, {})
    assert (far.id, far.identity, far.distance) == ("a", "anna", 5.0)
    assert far.vector is not None
    assert far.vector.tolist() == [3, 4]
    assert people.stats().items == 2


def test_bad_items_are_rejected_alone(collection: MakeCollection, item: MakeItem) -> None:
    people = collection(metric="cosine", fields={"time": "datetime"})
    written = people.upsert(
        [item("a", [1, 0]), item("b", [0, 0]), item("c", [1]), item("d", [1, 1], time="now")]
    )
    assert [one.status for one in written] == ["created", "rejected", "rejected", "rejected"]
    assert [one.id for one in written] == ["a", "b", "c", "d"]
    assert all(one.reason for one in written[1:])
    assert ids(people.page(limit=9).items) == ["a"]
    assert people.upsert([]) == []


def test_all_or_none_writes_nothing_where_one_is_rejected(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    written = people.upsert([item("a", [1, 0], "anna"), item("b", [1]), item(None, [2, 0])], all_or_none=True)
    assert [(one.id, one.status) for one in written] == [
        ("a", "rejected"),
        ("b", "rejected"),
        (None, "rejected"),
    ]
    assert [one.reason == ANOTHER_REJECTED for one in written] == [True, False, True]
    assert people.stats().items == 0
    written = people.upsert([item("a", [1, 0], "anna"), item(None, [2, 0])], all_or_none=True)
    assert [one.status for one in written] == ["created", "created"]
    assert people.upsert([], all_or_none=True) == []
    assert people.stats().items == 2


def test_an_id_that_comes_again_is_replaced(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    people.upsert([item("a", [1, 0]), item("b", [2, 0])])
    written = people.upsert(
        [item("c", [5, 0]), item("a", [6, 0]), item("c", [7, 0]), item("c", [0]), item("d", [8, 0])]
    )
    assert [one.status for one in written] == ["created", "replaced", "replaced", "rejected", "created"]
    assert ids(people.page(limit=9).items) == ["b", "a", "c", "d"]
    assert [(match.id, match.distance) for match in find(people, [0, 0])] == [
        ("b", 2),
        ("a", 6),
        ("c", 7),
        ("d", 8),
    ]


def test_deleted_items_are_gone_by_every_way(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    people.upsert([item(str(i), [i, 0], parity=i % 2) for i in range(10)])
    assert people.delete(["1", "1", "no", "", "\ud800"]) == 1
    assert people.delete_where(parse_filter({"parity": 0})) == 5
    assert ids(find(people, [0, 0])) == ["3", "5", "7", "9"]
    assert ids(people.page(limit=9).items) == ["3", "5", "7", "9"]
    assert people.get("1") is None
    assert people.delete_where(parse_filter({"parity": {"exists": True}})) == 4
    assert find(people, [0, 0]) == []


def test_pages_are_in_the_order_of_writing(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    people.upsert([item(str(i), [i, 0], "even" if i % 2 == 0 else None) for i in range(7)])
    seen: list[str] = []
    page = people.page(limit=3)
    while True:
        seen += ids(page.items)
        if page.cursor is None:
            break
        page = people.page(limit=3, cursor=page.cursor)
    assert seen == [str(i) for i in range(7)]
    assert ids(people.page(limit=4, identity="even").items) == ["0", "2", "4", "6"]
    assert people.page(limit=4, identity="even").cursor is None
    assert people.page(limit=4, identity="\ud800").items == []
    for cursor in ("x", "-1", "9" * 30, ""):
        with pytest.raises(RequestError, match="no cursor"):
            people.page(limit=3, cursor=cursor)


def test_everything_is_there_after_opening_again(collection: MakeCollection, item: MakeItem) -> None:
    people = collection(metric="cosine", fields={"n": "integer"})
    random = np.random.default_rng(0)
    people.upsert([item(str(i), random.standard_normal(2), f"p{i % 7}", n=i) for i in range(5000)])
    people.upsert([item(str(i), random.standard_normal(2), n=-i) for i in range(0, 5000, 3)])
    people.delete([str(i) for i in range(0, 5000, 5)])
    query = {"k": 50, "filter": parse_filter({"n": {"gte": -900, "lt": 900}}), "with_metadata": True}
    before = find(people, [1, 1], **query)
    config, items = people.config, people.stats().items
    people.close()
    again = collection()
    assert again.config == config
    assert again.stats().items == items
    assert find(again, [1, 1], **query) == before
    assert len(before) == 50


def test_filtered_search_is_never_short(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    random = np.random.default_rng(1)
    vectors = random.standard_normal((2000, 2))
    people.upsert([item(str(i), vectors[i], rare=i % 200 == 0) for i in range(2000)])
    nearest = sorted(range(0, 2000, 200), key=lambda i: float(np.linalg.norm(vectors[i])))
    rare = parse_filter({"rare": True})
    assert ids(find(people, [0, 0], k=5, filter=rare)) == [str(i) for i in nearest[:5]]
    assert ids(find(people, [0, 0], k=99, filter=rare)) == [str(i) for i in nearest]
    assert find(people, [0, 0], filter=parse_filter({"rare": 7})) == []


@pytest.mark.parametrize("k", [1, 3, 12, 100])
@pytest.mark.parametrize("limit", [None, 0.5])
def test_grouped_search_gives_each_identity_its_best(
    collection: MakeCollection, item: MakeItem, k: int, limit: float | None
) -> None:
    """One identity has thousands of items nearest to the query; others stand behind it."""
    people = collection()
    random = np.random.default_rng(2)
    vectors = np.concatenate([random.standard_normal((3000, 2)) * 0.01, random.standard_normal((300, 2))])
    identities = ["crowd" if i < 3000 else None if i % 5 == 0 else f"p{i % 31}" for i in range(3300)]
    people.upsert([item(str(i), vectors[i], identities[i]) for i in range(3300)])
    distances = np.linalg.norm(vectors.astype(np.float32).astype(np.float64), axis=1)
    best: dict[str, tuple[float, str]] = {}
    for i, identity in enumerate(identities):
        if identity is not None and (limit is None or distances[i] <= limit):
            best[identity] = min(best.get(identity, (np.inf, "")), (float(distances[i]), str(i)))
    expected = sorted((distance, item_id, identity) for identity, (distance, item_id) in best.items())[:k]
    found = find(people, [0, 0], k=k, group_by="identity", max_distance=limit)
    assert [(match.id, match.identity) for match in found] == [one[1:] for one in expected]
    np.testing.assert_allclose([match.distance for match in found], [one[0] for one in expected], rtol=1e-12)


def test_max_distance_is_inclusive(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    people.upsert([item("a", [3, 4]), item("b", [0.3, 0.4])])
    assert ids(find(people, [0, 0], max_distance=5.0)) == ["b", "a"]
    assert ids(find(people, [0, 0], max_distance=4.999)) == ["b"]
    for match in find(people, [0.1, 0.7]):
        assert match.id in ids(find(people, [0.1, 0.7], max_distance=match.distance))


def test_left_out_item_makes_room_for_the_next(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    people.upsert([item(str(i), [i, 0], f"p{i % 4}") for i in range(8)])
    queries = np.array([[0, 0], [0, 0]], np.float32)
    left_out = [LeftOut(frozenset({"0"})), NOTHING]
    by_id = people.search(queries, SearchOptions(k=3), left_out=left_out)
    assert [ids(one) for one in by_id] == [["1", "2", "3"], ["0", "1", "2"]]
    by_identity = people.search(queries, SearchOptions(k=4, group_by="identity"), left_out=left_out)
    assert [ids(one) for one in by_identity] == [["1", "2", "3", "4"], ["0", "1", "2", "3"]]


def test_queries_that_cannot_be_searched_are_refused(collection: MakeCollection, item: MakeItem) -> None:
    people = collection(metric="cosine", fields={"n": "integer"})
    people.upsert([item("a", [1, 0])])
    with pytest.raises(DimensionMismatchError) as raised:
        find(people, [1, 2, 3])
    assert (raised.value.expected, raised.value.got) == (2, 3)
    assert raised.value.argument == "queries"
    for bad, kind in (([1, np.nan], NonFiniteError), ([0, 0], DomainError)):
        queries = np.array([[1, 0], [0, 1], [1, 1], bad], np.float32)
        with pytest.raises(kind, match=r"^Query 3 ") as refused:
            people.search(queries, SearchOptions())
        assert (refused.value.argument, refused.value.row) == ("queries", 3)
    with pytest.raises(FilterError):
        find(people, [1, 0], filter=parse_filter({"n": "1"}))
    with pytest.raises(FilterError):
        people.delete_where(parse_filter({"n": "1"}))
    assert people.stats().items == 1
    for options in ({"k": 0}, {"max_distance": float("nan")}):
        with pytest.raises(InvalidFieldsError):
            find(people, [1, 0], **options)


def test_closed_collection_says_so(collection: MakeCollection, item: MakeItem) -> None:
    people = collection()
    people.upsert([item("a", [1, 0])])
    people.close()
    people.close()
    for call in (
        lambda: people.upsert([item("b", [1, 0])]),
        lambda: find(people, [1, 0]),
        lambda: people.get("a"),
    ):
        with pytest.raises(NotReadyError, match="closed"):
            call()


def what_is_wrong(matches: Sequence[Match], expected: int) -> list[str]:
    """Look for missing or repeated ids, and for identities whose items are of different writes."""
    kept = [match for match in matches if match.id != "gone"]
    wrong = [] if len(kept) == expected else [f"{len(kept)} of {expected}"]
    if len(set(ids(matches))) != len(matches):
        wrong.append("an id comes twice")
    turns = {(match.identity, (match.metadata or {})["turn"]) for match in kept}
    if len(turns) != len({identity for identity, _ in turns}):
        wrong.append(f"half a write: {sorted(map(str, turns))}")
    return wrong


def test_searches_during_writes_are_whole_and_of_one_moment(
    collection: MakeCollection, item: MakeItem
) -> None:
    """Every item is replaced all the time, by pairs of one generation: each search sees each id just once."""
    people = collection()
    count = 30

    def generation(i: int, turn: int) -> list[NewItem]:
        return [item(f"{i}{side}", [i, turn % 7], f"p{i}", turn=turn, all=1) for side in "ab"]

    people.upsert([one for i in range(count) for one in generation(i, 0)])
    failures: list[str] = []
    stop = threading.Event()

    def write(seed: int) -> None:
        random = np.random.default_rng(seed)
        for turn in range(1, 80):
            people.upsert(generation(int(random.integers(count)), turn))
            people.upsert([item("gone", [0, 0], "gone")])
            people.delete(["gone"])

    def read(options: SearchOptions, expected: int) -> None:
        while not stop.is_set():
            (matches,) = people.search(np.zeros((1, 2), np.float32), options)
            failures.extend(what_is_wrong(matches, expected))

    everything = parse_filter({"all": 1})
    readers = [
        threading.Thread(target=read, args=(SearchOptions(k=500, with_metadata=True), 2 * count)),
        threading.Thread(
            target=read, args=(SearchOptions(k=500, with_metadata=True, filter=everything), 2 * count)
        ),
        threading.Thread(
            target=read,
            args=(SearchOptions(k=500, with_metadata=True, group_by="identity", filter=everything), count),
        ),
    ]
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert people.stats().items == 2 * count
