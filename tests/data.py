"""Where the real pictures and encoders are: beside the repository, never in it."""

import os
from pathlib import Path

import pytest

__all__ = ["DATA", "real_data"]

DATA = Path(os.environ.get("REAL_DATA") or Path(__file__).parents[2] / "shared" / "data").resolve()


def real_data(name: str = "") -> Path:
    """Return the folder of real data, or one of its folders; skip the test where it is absent."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"needs real pictures and encoders in {folder}; see docs/testing.md")
    return folder
