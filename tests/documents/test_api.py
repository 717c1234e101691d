"""The Python example of docs/api.md, run as it is written against the real server."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system.serving import running_server

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:8000"
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/api.md").read_text(), flags=re.S | re.M)


def test_distances_come_back_as_an_array(tmp_path: Path) -> None:
    (block,) = BLOCKS
    assert ADDRESS in block
    random = np.random.default_rng(0)
    space: dict[str, Any] = {"x": random.normal(size=(30, 8)), "y": random.normal(size=(20, 8))}
    with running_server(tmp_path / "data") as server:
        exec(block.replace(ADDRESS, server.url), space)
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (space["x"], space["y"]))
    np.testing.assert_allclose(space["distances"], 1 - x @ y.T, atol=1e-12)
