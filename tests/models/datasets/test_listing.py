"""What a disk holds is listed in a fixed order; what it does not let read is an error in words."""

from pathlib import Path

import pytest

from models.datasets.listing import folders_in, pictures_in, read_lines
from models.errors import DatasetError
from tests.models.datasets.fakes import folders


def test_pictures_and_folders_are_told_apart(tmp_path: Path) -> None:
    folders(tmp_path, "b.PNG", "a.jpeg", ".c.png", "d.png/e.png", ".f/g.png")
    (tmp_path / "h.txt").touch()
    assert [path.name for path in pictures_in(tmp_path)] == ["a.jpeg", "b.PNG"]
    assert [path.name for path in folders_in(tmp_path)] == ["d.png"]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"file cannot be read: Not a directory\."):
        pictures_in(tmp_path / "file")


@pytest.mark.parametrize(
    "text", ["a 1\nb 2\n", "a 1\nb 2", "a 1\r\nb 2\r\n", "\ufeffa 1\nb 2\n\n \n", "a 1\rb 2\r"]
)
def test_line_ends_and_byte_order_marks_do_not_count(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.txt").write_bytes(text.encode())
    assert read_lines(tmp_path / "list.txt", "a test") == ["a 1", "b 2"]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"caf\xe9\n", "must be a text in UTF-8"), (b"\n \n", "is empty; a test needs it"), (b"", "is empty")],
)
def test_a_text_that_cannot_be_used_is_an_error(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(DatasetError, match=message):
        read_lines(tmp_path / "list.txt", "a test")
