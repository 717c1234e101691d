"""What is brief is what takes little work, wherever others have the processors meanwhile."""

import sys
from pathlib import Path

import pytest

from service.cpus import disk_waits
from service.gallery.brevity import Brevity, Held
from service.gallery.collection import SearchOptions

PLAIN = SearchOptions(k=3)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_slow_is_not_brief_until_it_was_fast_again() -> None:
    brevity = Brevity(lambda: 0.0)
    assert brevity.brief(PLAIN) == 0
    brevity.note(PLAIN, 1, Held(0.01, 0.0, read=False))
    assert brevity.brief(PLAIN) == 0
    brevity.note(PLAIN, 10, Held(0.002, 0.0, read=False))
    assert brevity.brief(PLAIN) == 10  # 2 ms in all
    for _ in range(20):
        brevity.note(PLAIN, 1, Held(0.01, 0.0, read=False))
    assert brevity.brief(PLAIN) == 0


@pytest.mark.parametrize(
    ("held", "wary"),
    [
        (Held(0.0002, 0.0, read=False), False),
        (Held(0.0002, 0.1, read=False), False),  # a thread would have waited for the interpreter, too
        (Held(0.0002, 0.1, read=True), True),
        (Held(0.0002, 0.001, read=True), False),
        (Held(0.006, 0.0, read=False), True),
    ],
)
def test_for_a_second_none_is_brief_after_one_that_worked_long_or_waited_for_the_disk(
    held: Held, wary: bool
) -> None:
    clock = Clock()
    brevity = Brevity(clock)
    assert brevity.brief(PLAIN) == 0
    brevity.note(PLAIN, 1, Held(0.0002, 0.0, read=False))
    assert brevity.brief(PLAIN) == 10
    brevity.note_held(PLAIN, 100, held, answered=True)
    assert (brevity.brief(PLAIN) == 0) is wary
    clock.now += 1.1
    assert brevity.brief(PLAIN) > 0


def test_where_the_disk_is_waited_for_again_and_again_none_is_brief() -> None:
    clock = Clock()
    brevity = Brevity(clock)
    for _ in range(20):
        brevity.note(PLAIN, 1, Held(0.0003, 0.08, read=True))
    clock.now += 10
    assert brevity.brief(PLAIN) == 0


def test_a_clock_that_stands_still_is_believed_as_far_as_it_goes() -> None:
    brevity = Brevity(Clock())
    brevity.note(PLAIN, 1, Held(0.0, 0.0, read=False))
    assert brevity.brief(PLAIN) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="another system keeps no such file")
def test_the_process_is_asked_how_often_it_waited_for_the_disk() -> None:
    def major_faults() -> int:
        return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[9])

    before = major_faults()
    assert before <= disk_waits() <= max(before, major_faults())
