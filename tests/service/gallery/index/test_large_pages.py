"""Reading a file into large pages changes nothing of it, and can be stopped; what it brings is measured."""

from pathlib import Path

import pytest

from service.gallery.index.large_pages import forget, read_in

CONTENT = bytes(range(256)) * 300_000  # more than is read in one go


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_a_file_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    forget(path)
    read_in(path, lambda: None)
    assert path.read_bytes() == content


def test_whatever_it_is_told_to_stop_by_ends_it(tmp_path: Path) -> None:
    asked: list[None] = []
    path = tmp_path / "file"
    path.write_bytes(CONTENT)

    def stop_later() -> None:
        asked.append(None)
        if len(asked) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        read_in(path, stop_later)


def test_what_cannot_be_opened_is_left_to_whoever_reads_it_next(tmp_path: Path) -> None:
    read_in(tmp_path / "missing", lambda: None)
