"""Fixtures of the tests of training."""

from pathlib import Path

import pytest

from models.drawing import draw_dataset
from models.training import TrainConfig


@pytest.fixture(scope="package")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=20, views=2).parent


@pytest.fixture(scope="package")
def config(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return TrainConfig(
        data=drawn,
        out=tmp_path_factory.mktemp("bundles") / "tiny",
        name="tiny",
        height=32,
        width=32,
        dimension=16,
        identities=6,
        images=2,
        steps=3,
        threads=1,
    )
