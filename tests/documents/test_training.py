"""docs/training.md names every network and every augmentation."""

from pathlib import Path

import pytest

from models.augmentation import AUGMENTATIONS
from models.networks import NETWORKS

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text()


@pytest.mark.parametrize("name", [*NETWORKS, *AUGMENTATIONS])
def test_it_is_named(name: str) -> None:
    assert f"`{name}`" in TEXT
