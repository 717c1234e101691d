"""What was freed goes back to the system."""

import mmap
import platform
from pathlib import Path

import pytest

from service.memory import give_back, granted_bytes

SIZE = 64 * 1024  # so small that the C library keeps it when it is freed
COUNT = 1600


def resident() -> int:
    """Return the bytes of memory that this process occupies."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * mmap.PAGESIZE


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to give memory back")
def test_what_lies_free_below_what_is_in_use_is_given_back() -> None:
    blocks = [b"x" * SIZE for _ in range(COUNT)]
    top = b"x" * SIZE  # keeps the heap from shrinking by itself
    before = resident()
    blocks.clear()
    assert resident() > before - COUNT * SIZE / 2
    give_back()
    assert resident() < before - COUNT * SIZE / 2
    assert len(top) == SIZE


@pytest.mark.parametrize(
    ("file", "text", "bytes_"), [("memory.max", "4194304\n", 4 * 2**20), ("memory.max", "max\n", None)]
)
def test_a_container_may_have_less_memory_than_its_machine(
    file: str, text: str, bytes_: int | None, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    assert granted_bytes(tmp_path) == (bytes_ or granted_bytes(tmp_path / "none"))
