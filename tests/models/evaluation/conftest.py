"""Fixtures of the tests of evaluation."""

import pytest

from models.runtime import Encoder
from tests.models.evaluation.small import random_encoder


@pytest.fixture(scope="package")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Return an encoder of random weights."""
    return random_encoder(tmp_path_factory.mktemp("bundles") / "untrained")
