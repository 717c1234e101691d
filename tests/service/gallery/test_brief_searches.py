"""Brief searches are done on the event loop, those of one turn together; all others in threads."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from models.errors import NonFiniteError
from service.errors import DimensionMismatchError
from service.gallery.collection import Collection, Match, NewItem, SearchOptions, Vectors
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.options import NOTHING, LeftOut
from service.gallery.searcher import Searcher
from tests.service.gallery.conftest import MakeCollection

PLAIN = SearchOptions(k=3, with_metadata=False)
QUERIES = np.random.default_rng(1).standard_normal((40, 2)).astype(np.float32)


class Watched:
    """A collection that notes by which thread it is searched, and for how many queries.

    It has a clock of its own, on which a search takes the time that it is told.
    """

    def __init__(self, real: EmbeddedCollection) -> None:
        self.real, self.takes_s, self.now_s = real, 0.0001, 0.0
        self.seen: list[tuple[bool, int]] = []

    def search(
        self, queries: Vectors, options: SearchOptions, *, left_out: Sequence[LeftOut] = ()
    ) -> Sequence[Sequence[Match]]:
        on_loop = threading.current_thread() is threading.main_thread()
        self.seen.append((on_loop, len(queries)))
        self.now_s += self.takes_s
        return self.real.search(queries, options, left_out=left_out)

    def search_in_memory(self, queries: Vectors, options: SearchOptions) -> Sequence[Sequence[Match]] | None:
        on_loop = threading.current_thread() is threading.main_thread()
        self.seen.append((on_loop, len(queries)))
        self.now_s += self.takes_s
        return self.real.search_in_memory(queries, options)


@pytest.fixture
def watched(collection: MakeCollection) -> Watched:
    made = collection(dimension=2, fields={"n": "integer"})
    rows = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    made.upsert([NewItem(f"i{n}", None, row, {"n": n, "not_declared": n}) for n, row in enumerate(rows)])
    return Watched(made)


Ask = Callable[..., Awaitable[Sequence[Sequence[Match]]]]


def asking(watched: Watched, use: Callable[[Ask], Awaitable[None]]) -> None:
    """Let something ask a searcher that has seen the collection searched once."""

    async def go() -> None:
        searcher = Searcher(
            threads=1, most_waiting=100, clock=lambda: watched.now_s, working=lambda: watched.now_s
        )

        async def ask(
            queries: Vectors, options: SearchOptions = PLAIN, left_out: LeftOut = NOTHING, **more: Any
        ) -> Sequence[Sequence[Match]]:
            target = cast("Collection", watched)
            without = [left_out] * len(queries)
            return await searcher.search(target, queries, options, without, then=lambda found: found, **more)

        try:
            await ask(QUERIES[:1])
            await use(ask)
        finally:
            await asyncio.to_thread(searcher.close)

    asyncio.run(go())


def test_the_first_is_done_in_a_thread_and_the_next_on_the_loop(watched: Watched) -> None:
    right = [watched.real.search(QUERIES[n : n + 1], PLAIN) for n in (1, 2)]

    async def use(ask: Ask) -> None:
        assert await ask(QUERIES[1:2]) == right[0]
        assert await ask(QUERIES[2:3], alone=True) == right[1]

    asking(watched, use)
    assert watched.seen == [(False, 1), (True, 1), (True, 1)]


def test_those_of_one_turn_are_done_together_each_with_its_own_answer(watched: Watched) -> None:
    parts = [QUERIES[n : n + 1] for n in range(30)]
    right = [watched.real.search(part, PLAIN) for part in parts]

    async def use(ask: Ask) -> None:
        assert await asyncio.gather(*[ask(part) for part in parts]) == right

    asking(watched, use)
    on_loop = [count for brief, count in watched.seen if brief]
    assert sum(on_loop) == 30
    assert max(on_loop) > 1
    assert max(on_loop) <= 16  # the event loop has others to serve


def test_those_of_turns_that_follow_are_done_together_until_one_brings_none(watched: Watched) -> None:
    async def use(ask: Ask) -> None:
        asked: list[Awaitable[Any]] = []
        for number in range(20):
            asked.append(asyncio.ensure_future(ask(QUERIES[number : number + 1])))
            for _ in range(1 if number != 2 else 5):
                await asyncio.sleep(0)
        await asyncio.gather(*asked)

    asking(watched, use)
    assert watched.seen[1:] == [(True, 3), (True, 16), (True, 1)]  # the event loop has others to serve


@pytest.mark.parametrize(
    "options",
    [
        replace(PLAIN, exact=True),
        replace(PLAIN, k=101),
        replace(PLAIN, with_metadata=True),
        replace(PLAIN, with_vector=True),
        replace(PLAIN, max_distance=1.0),
        replace(PLAIN, group_by="identity"),
        replace(PLAIN, filter=parse_filter({"n": {"lt": 30}}), with_metadata=True),
    ],
)
def test_what_may_take_long_is_done_in_a_thread(watched: Watched, options: SearchOptions) -> None:
    right = watched.real.search(QUERIES[:2], options)

    async def use(ask: Ask) -> None:
        found = await ask(QUERIES[:2], options, alone=True)
        assert [[match.id for match in one] for one in found] == [
            [match.id for match in one] for one in right
        ]

    asking(watched, use)
    assert watched.seen[1:] == [(False, 2)]


def filtered(field: str, below: int) -> SearchOptions:
    return replace(PLAIN, filter=parse_filter({field: {"lt": below}}))


def test_searches_with_a_filter_have_a_time_of_their_own(watched: Watched) -> None:
    asked = [PLAIN, *(filtered("n", below) for below in (30, 30, 20, 2))]
    right = [watched.real.search(QUERIES[:1], options) for options in asked]

    async def use(ask: Ask) -> None:
        assert [await ask(QUERIES[:1], options) for options in asked] == right

    asking(watched, use)
    assert watched.seen[1:] == [(True, 1), (False, 1), (True, 1), (True, 1), (True, 1)]


def test_what_passes_a_filter_over_an_undeclared_field_is_asked_of_the_record_once(watched: Watched) -> None:
    options = filtered("not_declared", 7)
    assert watched.real.search_in_memory(QUERIES[:1], options) is None
    right = watched.real.search(QUERIES[:1], options)
    assert {match.id for match in right[0]} <= {f"i{n}" for n in range(7)}
    assert watched.real.search_in_memory(QUERIES[:1], options) == right
    watched.real.upsert([NewItem("new", None, QUERIES[0], {"not_declared": 1})])
    assert watched.real.search_in_memory(QUERIES[:1], options) is None
    assert watched.real.search(QUERIES[:1], options)[0][0].id == "new"


def test_a_filter_that_passes_much_is_left_to_a_thread(collection: MakeCollection) -> None:
    wide = collection("wide", dimension=128, fields={"n": "integer"})
    rows = np.random.default_rng(0).standard_normal((5_000, 128)).astype(np.float32)
    wide.upsert([NewItem(f"i{n}", None, row, {"n": n}) for n, row in enumerate(rows)])
    asked = [(1, 4_000), (1, 4_097), (2, 2_048), (2, 2_049)]
    wide.search(rows[:1], filtered("n", 1))  # which reads the field
    found = [wide.search_in_memory(rows[:count], filtered("n", below)) for count, below in asked]
    assert [one is not None for one in found] == [True, False, True, False]
    assert found[0] == wide.search(rows[:1], filtered("n", 4_000))


def test_rows_that_have_codes_are_compared_faster(collection: MakeCollection) -> None:
    wide = collection("wide", dimension=128, fields={"n": "integer"})
    rows = np.random.default_rng(0).standard_normal((6_000, 128)).astype(np.float32)
    wide.upsert([NewItem(f"i{n}", None, row, {"n": n}) for n, row in enumerate(rows)])
    assert wide.seal(idle=True)
    asked = filtered("n", 5_000)
    right = wide.search(rows[:4], asked)
    assert wide.search_in_memory(rows[:1], asked) is None
    assert wide.search(rows[:4], asked) == right  # 10,000 of 6,000 were scanned
    assert wide.search_in_memory(rows[:1], asked) is None  # so codes are due, which a thread makes
    memory = wide.stats().memory_bytes
    assert wide.search(rows[:4], asked) == right
    assert wide.stats().memory_bytes >= memory + 6_000 * 128
    assert wide.search_in_memory(rows[:4], asked) == right
    assert wide.search_in_memory(rows[:5], asked) is None  # 5 x 5,000 x 128 / 6 are too many all the same
    assert wide.search_in_memory(rows[:1], filtered("n", 4_999)) is not None
    wide.delete(["i7"])
    left = wide.search(rows[:1], asked)
    assert [match.id for match in left[0]] == [match.id for match in right[0]]
    assert wide.search_in_memory(rows[:1], asked) == left


def test_a_long_filter_is_done_in_a_thread_and_one_that_is_not_answered_slows_no_other(
    watched: Watched,
) -> None:
    long = replace(PLAIN, filter=parse_filter({"n": {"in": [*range(20)]}}))
    asked = [filtered("n", 30), long, filtered("not_declared", 5), filtered("n", 20)]

    async def use(ask: Ask) -> None:
        for options in asked:
            await ask(QUERIES[:1], options)

    asking(watched, use)
    # The third is tried on the loop, and answered by a thread.
    assert watched.seen[1:] == [(False, 1), (False, 1), (True, 1), (False, 1), (True, 1)]


def test_many_queries_and_things_to_leave_out_are_done_in_a_thread(watched: Watched) -> None:
    async def use(ask: Ask) -> None:
        await ask(QUERIES, alone=True)
        (found,) = await ask(QUERIES[:1], PLAIN, LeftOut(frozenset({"i7"})), alone=True)
        assert len(found) == 3

    asking(watched, use)
    assert watched.seen[1:] == [(False, 40), (False, 1)]


@pytest.mark.parametrize("alone", [False, True])
def test_after_one_that_took_long_threads_do_it_until_they_are_fast_again(
    watched: Watched, alone: bool
) -> None:
    async def use(ask: Ask) -> None:
        watched.takes_s = 0.02
        await ask(QUERIES[:1], alone=alone)
        watched.now_s += 2  # not even a second later, as nobody knows that it is fast
        for _ in range(3):
            await ask(QUERIES[:1], alone=alone)
        watched.takes_s = 0.0001
        await ask(QUERIES[:1], alone=alone)
        await ask(QUERIES[:1], alone=alone)

    asking(watched, use)
    assert watched.seen[1:] == [(True, 1), (False, 1), (False, 1), (False, 1), (False, 1), (True, 1)]


def test_where_nobody_else_is_served_the_loop_may_be_held_longer(watched: Watched) -> None:
    async def use(ask: Ask) -> None:
        for takes_s, alone, on_loop in ((0.0015, False, False), (0.0025, True, True), (0.0035, True, False)):
            watched.takes_s = takes_s
            for _ in range(9):
                await ask(QUERIES[:1], alone=alone)
            assert watched.seen[-1] == (on_loop, 1)

    asking(watched, use)


def test_what_arrived_behind_one_that_took_long_goes_to_the_threads(watched: Watched) -> None:
    right = [watched.real.search(QUERIES[n : n + 1], PLAIN) for n in range(40)]

    async def use(ask: Ask) -> None:
        watched.takes_s = 0.02
        assert await asyncio.gather(*[ask(QUERIES[n : n + 1]) for n in range(40)]) == right

    asking(watched, use)
    assert [count for brief, count in watched.seen if brief] == [16]


def test_one_that_cannot_be_searched_spoils_no_other(watched: Watched) -> None:
    right = [watched.real.search(QUERIES[n : n + 1], PLAIN) for n in (0, 1)]
    bad, long = np.array([[np.nan, 1]], np.float32), np.ones((1, 3), np.float32)

    async def use(ask: Ask) -> None:
        asked = [ask(QUERIES[:1]), ask(bad), ask(long), ask(QUERIES[1:2])]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found[1], NonFiniteError)
        assert isinstance(found[2], DimensionMismatchError)
        assert [found[0], found[3]] == right
        with pytest.raises(NonFiniteError):
            await ask(bad, alone=True)

    asking(watched, use)


def test_what_memory_does_not_have_is_asked_of_the_disk_in_a_thread(
    watched: Watched, collection: MakeCollection
) -> None:
    right = watched.real.search(QUERIES[:3], PLAIN)
    watched.real.close()
    watched.real = collection()  # of which no name was read yet

    async def use(ask: Ask) -> None:
        answers = await asyncio.gather(*[ask(QUERIES[n : n + 1]) for n in range(3)])
        assert [found for (found,) in answers] == list(right)

    asking(watched, use)
    assert not all(brief for brief, _ in watched.seen[1:])
