"""What is brief is what takes little work, wherever others have the processors meanwhile."""

import mmap
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
    brevity.note(PLAIN, 1, 0.0002)
    assert brevity.brief(PLAIN) == 10
    brevity.note_held(PLAIN, 100, held, answered=True)
    assert (brevity.brief(PLAIN) == 0) is wary
    clock.now += 1.1
    assert brevity.brief(PLAIN) > 0


def test_pages_that_are_in_memory_are_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pages"
    path.write_bytes(bytes(2**20))
    before = disk_waits()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        assert not any(pages[at] for at in range(0, len(pages), 4096))
    assert disk_waits() == before
