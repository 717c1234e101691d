"""Large writes that leave the interpreter to searches."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from service.gallery import undisturbed
from service.gallery.collection import NewItem, SearchOptions
from service.gallery.giving_way import giving_way
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

    def work(self, count: int, *, busy: bool) -> list[int]:
        """Work on so many items, and return them."""
        done = []
        for item in giving_way(range(count), lambda: busy, clock=self, sleep=self.sleep):
            done.append(item)
            self.now += self._step
        return done


def test_items_come_in_order_and_searches_have_three_quarters_of_the_time() -> None:
    clock = Clock(0.0001)
    assert clock.work(500, busy=True) == [*range(500)]
    assert clock.now == pytest.approx(4 * 500 * 0.0001, rel=0.1)
    assert max(clock.slept) == pytest.approx(3 * 16 * 0.0001)  # it looks at its clock after each eighth item


@pytest.mark.parametrize(("count", "seconds", "busy"), [(500, 0.0001, False), (8, 0.0001, True)])
def test_nobody_waits_where_nobody_searches_or_there_is_little(
    count: int, seconds: float, busy: bool
) -> None:
    clock = Clock(seconds)
    assert clock.work(count, busy=busy) == [*range(count)]
    assert not clock.slept


def test_a_pause_is_short_however_long_the_work_took() -> None:
    clock = Clock(1.0)
    clock.work(24, busy=True)
    assert clock.slept == [0.01, 0.01]


def test_a_write_gives_way_at_both_its_steps_while_there_are_searches(
    collection: MakeCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy: list[bool] = []

    def noted(items: Iterable[object], is_busy: Callable[[], bool]) -> Iterator[object]:
        busy.append(is_busy())
        return iter(items)

    monkeypatch.setattr(undisturbed, "giving_way", noted)
    people = collection()
    people.upsert([NewItem("a", None, np.ones(2, np.float32), {})])
    for _ in range(2):
        people.search(QUERY, SearchOptions(k=1))
    people.upsert([NewItem("b", None, np.ones(2, np.float32), {})])
    assert busy == [False, False, True, True]
