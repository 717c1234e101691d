"""The pace of an encoder: the time that passes while somebody waits, over the pictures of that time."""

import time

import pytest

from service.pace import Pace


def test_nothing_is_known_before_the_first_batch() -> None:
    assert Pace().seconds == 0


def test_the_time_since_the_first_of_a_batch_came_is_shared_by_its_pictures() -> None:
    pace = Pace()
    pace.note(10, time.perf_counter() - 2)
    assert pace.seconds == pytest.approx(0.2, rel=0.05)


def test_time_counts_once_however_long_pictures_waited() -> None:
    pace = Pace()
    came = time.perf_counter() - 2
    pace.note(10, came)
    pace.note(10, came)  # encoded in no time after the batch before
    assert pace.seconds == pytest.approx(0.1, rel=0.1)


def test_time_in_which_nobody_waited_does_not_count() -> None:
    pace = Pace()
    pace.note(10, time.perf_counter() - 2)
    time.sleep(0.3)
    pace.note(10, time.perf_counter())
    assert pace.seconds == pytest.approx(0.1, rel=0.1)


def test_what_was_long_ago_is_forgotten() -> None:
    pace = Pace()
    pace.note(100, time.perf_counter() - 500)
    for _ in range(50):
        pace.note(64, time.perf_counter())
    assert pace.seconds < 0.01
