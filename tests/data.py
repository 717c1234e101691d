"""Where the real pictures and encoders are: beside the repository, never in it."""

from pathlib import Path

import pytest

__all__ = ["DATA", "real_data"]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data() -> Path:
    """Return the folder of real data, or skip the test where it is absent."""
    if not DATA.is_dir():
        pytest.skip("needs the real pictures and encoders in ../shared/data, which are not here")
    return DATA
