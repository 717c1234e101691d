"""Large writes that leave the interpreter to searches."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import count

import numpy as np
import pytest

from service.gallery import undisturbed
from service.gallery.collection import NewItem, SearchOptions
from service.gallery.pauses import Rest, with_pauses
from tests.service.gallery.conftest import MakeCollection

QUERY = np.ones((1, 2), np.float32)


class Clock:
    """Seconds that pass while an item is worked on, and while it sleeps, which it keeps."""

    def __init__(self, seconds_an_item: float) -> None:
        self.now, self._step = 0.0, seconds_an_item
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def work(self, items: int, *, busy: bool) -> list[int]:
        """Work on so many items, and return them."""
        done = []
        for item in with_pauses(range(items), lambda: busy, clock=self, sleep=self.sleep):
            done.append(item)
            self.now += self._step
        return done


def test_items_come_in_order_and_searches_have_three_quarters_of_the_time() -> None:
    clock = Clock(0.0001)
    assert clock.work(500, busy=True) == [*range(500)]
    assert clock.now == pytest.approx(4 * 500 * 0.0001, rel=0.1)
    assert max(clock.slept) == pytest.approx(3 * 16 * 0.0001)  # it looks at its clock after each eighth item


@pytest.mark.parametrize(("items", "seconds", "busy"), [(500, 0.0001, False), (15, 0.0001, True)])
def test_nobody_waits_where_nobody_searches_or_there_is_little(
    items: int, seconds: float, busy: bool
) -> None:
    clock = Clock(seconds)
    assert clock.work(items, busy=busy) == [*range(items)]
    assert not clock.slept


def test_a_pause_is_short_however_long_the_work_took() -> None:
    clock = Clock(1.0)
    clock.work(24, busy=True)
    assert clock.slept == [0.01, 0.01]


def test_a_write_pauses_while_it_is_prepared_and_the_collection_is_searched(
    collection: MakeCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[list[float]] = []

    def noted(items: Iterable[object], busy: Callable[[], bool]) -> Iterator[object]:
        slept.append([])
        working = count()  # a second passes each time it looks
        return with_pauses(items, busy, clock=lambda: next(working), sleep=slept[-1].append)

    monkeypatch.setattr(undisturbed, "with_pauses", noted)
    people = collection()
    people.upsert([_person(number) for number in range(20)])
    assert slept == [[]]  # nobody searches

    for _ in range(2):
        people.search(QUERY, SearchOptions(k=1))
    spoiled = NewItem("spoiled", None, np.full(2, np.nan, np.float32), {})
    written = people.upsert([*(_person(number) for number in range(10, 40)), spoiled])
    assert len(slept[1]) == 3  # before the 9th, the 17th and the 25th
    assert [one.status for one in written] == [*10 * ["replaced"], *20 * ["created"], "rejected"]
    assert [one.id for one in people.page(limit=50).items] == [f"p{number}" for number in range(40)]


def _person(number: int) -> NewItem:
    return NewItem(f"p{number}", None, np.array([1, number], np.float32), {})


def test_after_a_large_write_there_is_a_rest_in_proportion() -> None:
    now = 100.0
    rest = Rest(lambda: now, working=lambda: now)
    assert rest.over
    with rest.after(500):
        now += 0.1
    assert not rest.over
    now += 0.99
    assert not rest.over
    now += 0.02
    assert rest.over


@pytest.mark.parametrize(("writes", "rest_s"), [(1, 1.0), (2, 2.0), (50, 3.0)])
def test_the_rests_of_those_who_write_at_a_time_add_up_to_a_limit(writes: int, rest_s: float) -> None:
    now = 100.0
    rest = Rest(lambda: now, working=lambda: now)
    with ExitStack() as together:
        for _ in range(writes):
            together.enter_context(rest.after(500))
        now += 0.1
    now += rest_s - 0.01
    assert not rest.over
    now += 0.02
    assert rest.over


def test_small_writes_and_those_that_fail_have_none() -> None:
    now = 100.0
    rest = Rest(lambda: now, working=lambda: now)
    with rest.after(32):
        now += 1
    with pytest.raises(ValueError, match="refused"), rest.after(500):
        raise ValueError("refused")
    assert rest.over
