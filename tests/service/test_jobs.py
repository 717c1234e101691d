"""Jobs whose pictures are divided into crops: settled once, when all crops are."""

import threading

import numpy as np
import pytest

from models.errors import ImageError
from service.jobs import Job


class Noted:
    """A job of pictures of 1, 2, 3 ... bytes, and what it has told."""

    def __init__(self, count: int) -> None:
        self.sizes: list[int] = []
        self.done = 0
        self.job = Job([b"x" * (n + 1) for n in range(count)], settled=self.sizes.append, done=self._end)

    def _end(self, job: Job) -> None:
        self.done += 1


def row(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(1, value, np.float32)


def test_a_divided_picture_is_settled_with_its_last_crop() -> None:
    noted = Noted(2)
    places = noted.job.divide(0, 3)
    noted.job.settle(1, row(9))
    noted.job.settle(places[2], row(2))
    noted.job.settle(places[0], row(0))
    assert (noted.sizes, noted.done) == ([2], 0)
    noted.job.settle(places[0], row(7))  # the first one counts
    noted.job.settle(places[1], row(1))
    assert (noted.sizes, noted.done) == ([2, 1], 1)
    first, second = noted.job.crops()
    assert [float(crop[0]) for crop in first] == [0, 1, 2]  # type: ignore[union-attr]
    assert [float(crop[0]) for crop in second] == [9]  # type: ignore[union-attr]


def test_a_picture_divided_into_nothing_is_settled_at_once() -> None:
    noted = Noted(1)
    assert not noted.job.divide(0, 0)
    assert (noted.sizes, noted.done) == ([1], 1)
    assert noted.job.crops() == [[]]


@pytest.mark.parametrize("whole", [False, True])
def test_an_error_of_one_crop_is_that_of_the_picture(whole: bool) -> None:
    noted, error = Noted(1), ImageError("bad")
    places = noted.job.divide(0, 2)
    noted.job.settle(places[0], row(0))
    noted.job.settle(0 if whole else places[1], error)
    assert noted.done == 1
    assert noted.job.crops() == [error]


def test_crops_settled_from_many_threads_finish_once() -> None:
    noted = Noted(8)
    places = [place for position in range(8) for place in noted.job.divide(position, 40)]

    def settle(part: list[int]) -> None:
        for place in part:
            noted.job.settle(place, row(0))

    threads = [threading.Thread(target=settle, args=(places[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert noted.done == 1
    assert sorted(noted.sizes) == list(range(1, 9))


def test_a_crop_is_its_share_of_a_picture() -> None:
    job = Noted(2).job
    places = job.divide(1, 4)
    assert (job.share(0), [job.share(place) for place in places]) == (1, [0.25] * 4)
    assert [job.picture_of(place) for place in (0, *places)] == [0, 1, 1, 1, 1]
