"""A detector in a bundle: carried, verified, part of the fingerprint, and never without landmarks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import add_measurements, read_bundle
from models.detector_import import DetectorOptions, add_detector
from models.errors import BundleError, OptionError
from models.onnx_export import export_onnx, write_exported
from models.runtime import load_encoder, save_encoder
from tests.models.bundles import REPORTS, contents, edit_manifest
from tests.models.encoders import network, onnx_spec, torch_spec
from tests.models.faces.detectors import photograph, retinaface_graph, stub_graph
from tests.models.onnx_graphs import encoder_graph

SIDE = 32


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """A bundle of an encoder of square crops."""
    folder = tmp_path / "crops"
    raw = encoder_graph(size=(SIDE, SIDE)).SerializeToString()
    inputs = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    save_encoder(folder, onnx_spec(height=SIDE, width=SIDE), raw, inputs, reports=REPORTS)
    return folder


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = tmp_path / "detector.onnx"
    path.write_bytes(retinaface_graph())
    return path


def test_the_bundle_finds_faces_and_encodes_as_before(crops: Path, detector: Path, tmp_path: Path) -> None:
    made = add_detector(crops, detector, tmp_path / "photos", DetectorOptions())
    assert made.faces is not None
    (crop,) = made.faces.find(photograph((3, 3, "blue", 90))).crops
    before = load_encoder(crops)
    np.testing.assert_array_equal(made.encode(crop[None]), before.encode(crop[None]))
    assert before.faces is None
    bundle = read_bundle(tmp_path / "photos")
    assert bundle.detector == detector.read_bytes()
    assert bundle.reports == REPORTS
    assert bundle.manifest.derived_from == before.manifest.fingerprint != bundle.manifest.fingerprint
    found = bundle.manifest.detector
    assert found is not None
    assert (found.kind, found.height, found.width, found.score_threshold, found.faces) == (
        "retinaface", 64, 64, 0.6, "largest",
    )  # fmt: skip


def test_what_aligns_decides_over_the_fingerprint_and_thresholds_do_not(
    crops: Path, detector: Path, tmp_path: Path
) -> None:
    def fingerprint(**options: Any) -> str:
        made = add_detector(crops, detector, tmp_path / "photos", DetectorOptions(**options))
        return made.manifest.fingerprint

    first = fingerprint()
    assert fingerprint(score=0.9, faces="all", name="other") == first
    detector.write_bytes(retinaface_graph(degrees=1))
    assert fingerprint() != first


def test_measuring_later_keeps_the_detector(crops: Path, detector: Path, tmp_path: Path) -> None:
    made = add_detector(crops, detector, tmp_path / "photos", DetectorOptions())
    measured = add_measurements(tmp_path / "photos", evaluation={"rank_1": 1.0})
    assert measured.fingerprint == made.manifest.fingerprint
    assert load_encoder(tmp_path / "photos").faces is not None


def test_an_export_for_onnx_runtime_keeps_the_detector(detector: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    save_encoder(tmp_path / "net", torch_spec(height=SIDE, width=SIDE), network().state_dict(), inputs)
    by_torch = add_detector(tmp_path / "net", detector, tmp_path / "photos", DetectorOptions())
    exported = write_exported(export_onnx(tmp_path / "photos"), tmp_path / "exported")
    assert exported.engine.name == "onnxruntime"
    assert exported.faces is not None
    assert exported.manifest.detector == by_torch.manifest.detector


def test_another_detector_can_take_its_place(crops: Path, detector: Path, tmp_path: Path) -> None:
    add_detector(crops, detector, tmp_path / "photos", DetectorOptions())
    add_detector(tmp_path / "photos", detector, tmp_path / "photos", DetectorOptions(faces="one"))
    found = read_bundle(tmp_path / "photos").manifest.detector
    assert found is not None
    assert found.faces == "one"


def test_a_detector_that_was_changed_or_lost_is_refused(crops: Path, detector: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    add_detector(crops, detector, folder, DetectorOptions())
    (folder / "detector.onnx").write_bytes(retinaface_graph(degrees=5))
    with pytest.raises(BundleError, match=r"detector.onnx is not the file"):
        read_bundle(folder)
    (folder / "detector.onnx").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../x.onnx"}, "detector"),
        ({"kind": "yolo"}, "detector"),
        ({"score_threshold": 0}, "detector"),
    ],
)
def test_a_record_that_does_not_fit_is_named(
    crops: Path, detector: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    add_detector(crops, detector, tmp_path / "photos", DetectorOptions())
    edit_manifest(tmp_path / "photos", lambda content: content["detector"].update(change))
    with pytest.raises(BundleError, match=message):
        read_bundle(tmp_path / "photos")


def test_what_cannot_work_is_refused_before_anything_is_written(
    crops: Path, detector: Path, tmp_path: Path
) -> None:
    before = contents(crops)

    def refused(error: type[Exception], message: str, graph: bytes, **options: Any) -> None:
        detector.write_bytes(graph)
        with pytest.raises(error, match=message):
            add_detector(crops, detector, crops, DetectorOptions(**options))

    refused(BundleError, "no five landmarks", retinaface_graph(landmarks=False))
    refused(BundleError, "cannot load", b"nothing")
    refused(OptionError, "leave --size out", retinaface_graph(), size=(128, 128))
    refused(OptionError, "--size 640x640", stub_graph([np.zeros((1, 10), np.float32)], [1, 3, "h", "w"]))
    assert contents(crops) == before


def test_an_encoder_that_is_not_square_has_no_template(detector: Path, tmp_path: Path) -> None:
    raw = encoder_graph(size=(8, 10)).SerializeToString()
    pixels = np.zeros((1, 8, 10, 3), np.uint8)
    save_encoder(tmp_path / "wide", onnx_spec(), raw, pixels)
    with pytest.raises(OptionError, match="square template"):
        add_detector(tmp_path / "wide", detector, tmp_path / "photos", DetectorOptions())
    assert not (tmp_path / "photos").exists()
