"""A disk that is full refuses what comes, and loses nothing of what was acknowledged."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.gallery.collection import CollectionConfig
from service.gallery.embedded import EmbeddedCollection

FILLER = Path(__file__).with_name("filling_process.py")


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_full_disk_refuses_and_loses_nothing(kind: Any, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    EmbeddedCollection.create(folder, CollectionConfig(dimension=16, metric="euclidean", index_type=kind))
    command = [sys.executable, str(FILLER), str(folder)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert told["acknowledged"] >= 20
    assert "record.sqlite3" in told["refused"]
    assert "vectors.faiss could not be written" in told["sealing"]
    assert told["while full"]
    assert told["with room again"]
    assert told["opened again"]
