"""An encoder of crops and the same with a face detector, hosted side by side."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from models.detector_import import DetectorOptions, add_detector
from models.runtime import Encoder, load_encoder, save_encoder
from service.app import create_app
from service.settings import Settings
from tests.models.encoders import onnx_spec
from tests.models.faces.detectors import retinaface_graph
from tests.models.onnx_graphs import encoder_graph

SIDE = 32


@pytest.fixture(scope="session")
def face_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An encoder of crops, and the same with a detector, which takes photographs."""
    folder = tmp_path_factory.mktemp("bundles")
    raw = encoder_graph(size=(SIDE, SIDE)).SerializeToString()
    inputs = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    save_encoder(folder / "crops", onnx_spec(height=SIDE, width=SIDE), raw, inputs)
    (folder / "d.onnx").write_bytes(retinaface_graph())
    add_detector(folder / "crops", folder / "d.onnx", folder / "photos", DetectorOptions(name="photos"))
    return {"crops": folder / "crops", "photos": folder / "photos"}


@pytest.fixture(scope="session")
def face_encoder(face_bundles: dict[str, Path]) -> Encoder:
    return load_encoder(face_bundles["photos"])


@pytest.fixture
def faces(face_bundles: dict[str, Path], tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(
        data_dir=tmp_path / "data",
        encoder=str(face_bundles["photos"]),
        encoders=f"crops={face_bundles['crops']}",
        threads=1,
    )
    with TestClient(create_app(settings)) as client:
        yield client
