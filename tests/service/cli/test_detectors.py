"""`lookalike encoder add-detector` writes a bundle for photographs, or refuses it with a sentence."""

from pathlib import Path

import numpy as np
import pytest

from models.bundle import read_bundle
from models.runtime import save_encoder
from tests.models.bundles import contents
from tests.models.encoders import onnx_spec
from tests.models.faces.detectors import retinaface_graph
from tests.models.onnx_graphs import encoder_graph
from tests.service.cli.commands import refusal, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    raw = encoder_graph(size=(32, 32)).SerializeToString()
    save_encoder(tmp_path / "b", onnx_spec(height=32, width=32), raw, np.zeros((1, 32, 32, 3), np.uint8))
    (tmp_path / "d.onnx").write_bytes(retinaface_graph())
    (tmp_path / "plain.onnx").write_bytes(retinaface_graph(landmarks=False))
    return tmp_path


def test_a_bundle_with_a_detector_is_written_and_shown(folder: Path) -> None:
    add = ("encoder", "add-detector", folder / "b", folder / "d.onnx", "--out", folder / "photos")
    result = run(*add, "--name", "people", "--faces", "all", "--score", "0.7")
    assert result.exit_code == 0, result.output
    assert "read as retinaface, 64 x 64" in result.output
    manifest = read_bundle(folder / "photos").manifest
    assert manifest.name == "people"
    assert manifest.detector is not None
    assert (manifest.detector.faces, manifest.detector.score_threshold) == ("all", 0.7)
    shown = run("encoder", "show", folder / "photos").output
    assert "retinaface, 64 x 64, score 0.7, faces: all" in shown
    assert "is there already" in refusal(*add) or "holds a bundle" in refusal(*add)
    assert run(*add, "--replace").exit_code == 0


def test_a_detector_without_landmarks_is_refused(folder: Path) -> None:
    before = contents(folder)
    sentence = refusal(
        "encoder", "add-detector", folder / "b", folder / "plain.onnx", "--out", folder / "photos"
    )
    assert "no five landmarks" in sentence
    assert contents(folder) == before
