"""Searches that wait together are answered together, each as if it were alone."""

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from functools import partial
from itertools import count
from typing import Any, cast

import numpy as np
import pytest

from models.errors import NonFiniteError
from service.errors import NotReadyError, OverloadedError
from service.gallery.collection import Collection, NewItem, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.options import NOTHING, LeftOut
from service.gallery.searcher import Found, Searcher
from tests.service.gallery.conftest import MakeCollection

ONE = np.ones((1, 2), np.float32)


@pytest.fixture
def filled(collection: MakeCollection) -> EmbeddedCollection:
    made = collection(dimension=2)
    rows = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    flags: Sequence[object] = (1, True, "1")
    made.upsert([NewItem(f"i{n}", None, row, {"flag": flags[n % 3]}) for n, row in enumerate(rows)])
    return made


def as_found(found: Found) -> Found:
    return found


def together(
    made: EmbeddedCollection,
    *asked: tuple[Any, SearchOptions],
    left_out: Sequence[Sequence[LeftOut]] | None = None,
) -> list[Any]:
    """Ask all in one turn of the event loop, of one thread: what comes while it searches waits together."""
    without = [[NOTHING] * len(queries) for queries, _ in asked] if left_out is None else left_out

    async def ask() -> list[Any]:
        searcher = Searcher(threads=1, most_waiting=100)
        target = cast("Collection", made)
        try:
            searches: list[Awaitable[Found]] = [
                searcher.search(target, queries, options, some, then=as_found)
                for (queries, options), some in zip(asked, without, strict=True)
            ]
            found: list[Any] = await asyncio.gather(*searches, return_exceptions=True)
            return found
        finally:
            await asyncio.to_thread(searcher.close)

    return asyncio.run(ask())


def test_each_gets_its_own_answer(filled: EmbeddedCollection) -> None:
    queries = np.random.default_rng(1).standard_normal((40, 2)).astype(np.float32)
    kinds = [SearchOptions(k=3), SearchOptions(k=5), SearchOptions(k=3, max_distance=0.5)]
    asked = [(queries[n : n + 1 + n % 3], kinds[n % 3]) for n in range(30)]
    for (some, options), found in zip(asked, together(filled, *asked), strict=True):
        assert found == filled.search(some, options)


def test_what_one_leaves_out_is_left_out_of_no_other(filled: EmbeddedCollection) -> None:
    queries = np.random.default_rng(2).standard_normal((12, 2)).astype(np.float32)
    options = SearchOptions(k=5)
    nearest = [[match.id for match in one] for one in filled.search(queries, options)]
    parts = [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 8), slice(8, 12)]
    some = [[LeftOut(frozenset(ids[:2])) for ids in nearest[part]] for part in parts]
    left_out: list[Sequence[LeftOut]] = [(), some[1], (), [NOTHING, *some[3][1:]], [NOTHING] * 4]
    asked = [(queries[part], options) for part in parts]
    for found, (part, _), without in zip(
        together(filled, *asked, left_out=left_out), asked, left_out, strict=True
    ):
        alone = filled.search(part, options, left_out=without)
        assert list(map(list, found)) == list(map(list, alone))
    assert [match.id for match in together(filled, asked[1], left_out=[some[1]])[0][0]][:2] != nearest[1][:2]


def test_filters_that_only_look_equal_are_not_confused(filled: EmbeddedCollection) -> None:
    """In Python 1 == True."""
    asked = [
        (ONE, SearchOptions(k=60, filter=parse_filter({"flag": flag})))
        for flag in (1, True, "1", True, 1) * 4
    ]
    for (some, options), found in zip(asked, together(filled, *asked), strict=True):
        assert found == filled.search(some, options)
        assert len(found[0]) == 20


def test_one_that_cannot_be_searched_spoils_no_other(filled: EmbeddedCollection) -> None:
    bad = np.array([[np.nan, 1]], np.float32)
    options = SearchOptions(k=2)
    found = together(
        filled, (ONE, options), (bad, options), (np.ones((1, 3), np.float32), options), (ONE, options)
    )
    assert isinstance(found[1], NonFiniteError)
    assert isinstance(found[2], Exception)
    assert found[0] == found[3] == filled.search(ONE, options)


def test_an_answer_that_cannot_be_made_spoils_no_other(filled: EmbeddedCollection) -> None:
    threads: list[threading.Thread] = []

    def names_of(found: Found) -> list[str]:
        threads.append(threading.current_thread())
        return [match.id for match in found[0]]

    def broken(found: Found) -> list[str]:
        raise NonFiniteError("No answer can be made of it.", row=len(found))

    async def ask() -> list[Any]:
        searcher = Searcher(threads=1, most_waiting=100, working=partial(next, count(0, 1e-5)))
        search = partial(searcher.search, cast("Collection", filled), ONE, SearchOptions(k=2), ())
        try:
            some = [search(then=then) for then in (names_of, broken, names_of)]
            answers: list[Any] = await asyncio.gather(*some, return_exceptions=True)
            some = [search(then=then) for then in (names_of, broken)]  # on the event loop from here on
            answers += await asyncio.gather(*some, return_exceptions=True)
            return [*answers, *await asyncio.gather(search(then=broken, alone=True), return_exceptions=True)]
        finally:
            await asyncio.to_thread(searcher.close)

    first, *error, second, third, other, last = asyncio.run(ask())
    assert all(isinstance(one, NonFiniteError) for one in (*error, other, last))
    assert first == second == third == [match.id for match in filled.search(ONE, SearchOptions(k=2))[0]]
    assert threading.main_thread() not in threads[:2]  # they are made where it was searched, which
    assert threads[2] is threading.main_thread()  # is here, as it is known to be brief by then


def test_more_than_may_wait_are_refused_and_none_is_taken_after_the_end(filled: EmbeddedCollection) -> None:
    async def ask() -> None:
        searcher = Searcher(threads=1, most_waiting=0)
        target = cast("Collection", filled)
        with pytest.raises(OverloadedError, match="LOOKALIKE_MAX_WAITING_SEARCHES"):
            await searcher.search(target, ONE, SearchOptions(), [NOTHING], then=as_found)
        await asyncio.to_thread(searcher.close)
        with pytest.raises(NotReadyError):
            await searcher.search(target, ONE, SearchOptions(), [NOTHING], then=as_found)

    asyncio.run(ask())
