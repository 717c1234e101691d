"""Manifests: every field is checked, and the fingerprint says what decides over the embeddings."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from models.bundle import read_bundle, write_bundle
from models.errors import BundleError
from models.manifest import Architecture, InputSpec, Manifest, OnnxGraph
from tests.models.bundles import (
    REFERENCES,
    REPORTS,
    WEIGHTS,
    edit_manifest,
    make_calibration,
    make_spec,
    write,
)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe{}", b"{}", b"[" * 100_000])
def test_a_malformed_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "b")
    (tmp_path / "b" / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"is not a valid manifest"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"surprise": 1}, "surprise"),
        ({"format": "lookalike-encoder/2"}, "format"),
        ({"name": "two words"}, "name"),
        ({"name": "../up"}, "name"),
        ({"dimension": 0}, "dimension"),
        ({"normalize": None}, "normalize"),
        ({"metric": "hamming"}, "metric"),
        ({"weights_sha256": "abc"}, "weights_sha256"),
        ({"onnx": {"input": "x", "output": "y"}}, "exactly one of architecture and onnx"),
        ({"architecture": None}, "exactly one of architecture and onnx"),
        ({"calibration": {"metric": "cosine"}}, "calibration: .*This is no calibration record"),
        ({"calibration": make_calibration() | {"surprise": 1}}, "calibration: .*no calibration record"),
        ({"calibration": make_calibration("euclidean")}, "of euclidean distances, and the metric is cosine"),
        ({"reports_sha256": {"notes.txt": "0" * 64}}, "reports_sha256"),
        ({"reports_sha256": {"report.html": "abc"}}, "reports_sha256"),
        ({"derived_from": "vehicle"}, "derived_from"),
    ],
)
def test_a_field_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], where: str) -> None:
    write(tmp_path / "b")
    edit_manifest(tmp_path / "b", lambda content: content.update(change))
    with pytest.raises(BundleError, match=where):
        read_bundle(tmp_path / "b")


def test_a_manifest_from_before_these_fields_is_read_with_the_same_fingerprint(tmp_path: Path) -> None:
    written = write(tmp_path / "b")
    new = ("calibration", "derived_from", "detector", "reports_sha256")
    edit_manifest(tmp_path / "b", lambda content: [content.pop(name) for name in new])
    assert read_bundle(tmp_path / "b").manifest == written
    # What this bundle's fingerprint was when the format was made: collections remember it.
    decisive = {
        "architecture": {"name": "small_resnet", "params": {"dimension": 5}},
        "dimension": 5,
        "input": {
            "channels": "rgb",
            "height": 4,
            "mean": [1.0, 2.0, 3.0],
            "resize": "bilinear",
            "std": [4.0, 5.0, 6.0],
            "width": 6,
        },
        "normalize": True,
        "onnx": None,
        "weights_sha256": written.weights_sha256,
    }
    text = json.dumps(decisive, separators=(",", ":"))
    assert written.fingerprint == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"mean": [1, 2]}, "mean and std need 3"),
        ({"mean": [float("nan"), 2, 3]}, r"input\.mean"),
        ({"std": [0, 5, 6]}, r"input\.std"),
        ({"std": [float("inf"), 5, 6]}, r"input\.std"),
        ({"channels": "grey"}, r"mean and std need 1"),
        ({"height": 100_000}, r"input\.height"),
        ({"crop": 0.9}, r"input\.crop"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(
    tmp_path: Path, change: dict[str, Any], where: str
) -> None:
    write(tmp_path / "b")
    edit_manifest(tmp_path / "b", lambda content: content["input"].update(change))
    with pytest.raises(BundleError, match=where):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "sub/weights", "..", ".", "", ".hidden", "a\\b", "a\n", "a\0"]
)
def test_a_weights_file_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b")
    (tmp_path / "secret").write_bytes(b"secret")
    edit_manifest(tmp_path / "b", lambda content: content.update(weights_file=name))
    with pytest.raises(BundleError, match="weights_file"):
        read_bundle(tmp_path / "b")


def test_the_fingerprint_is_of_weights_and_preprocessing_and_of_nothing_else(tmp_path: Path) -> None:
    base = write(tmp_path / "b")
    edge: dict[str, Any] = {"height": 4, "width": 6, "mean": (1, 2, 3), "std": (4, 5, 6)}
    same: list[dict[str, Any]] = [
        {"description": "Another sentence."},
        {"intended_use": "x", "licence": "y"},
        {"evaluation": {"rank-1": 0.5}, "training": {"steps": 1}, "calibration": make_calibration()},
        {"derived_from": "0" * 64},
        {"name": "renamed", "metric": "euclidean"},
    ]
    other: list[dict[str, Any]] = [
        {"input": InputSpec(**edge | {"mean": (1, 2, 3.5)})},
        {"input": InputSpec(**edge | {"std": (4, 5, 6.5)})},
        {"input": InputSpec(**edge | {"channels": "bgr"})},
        {"input": InputSpec(**edge | {"resize": "bicubic"})},
        {"input": InputSpec(**edge | {"height": 6, "width": 4})},
        {"normalize": False},
        {"dimension": 6},
        {"architecture": Architecture(name="small_resnet", params={"dimension": 6})},
        {"architecture": None, "onnx": OnnxGraph(input="x", output="y")},
        {"architecture": None, "onnx": OnnxGraph(input="x", output="z")},
    ]
    assert {write(tmp_path / "b", **changes).fingerprint for changes in same} == {base.fingerprint}
    others = {Manifest(**make_spec(**changes).model_dump(), **hashes(base)).fingerprint for changes in other}
    reported = write_bundle(tmp_path / "b", make_spec(), WEIGHTS, REFERENCES, reports=REPORTS)
    assert reported.fingerprint == base.fingerprint
    changed = {"layer.weight": WEIGHTS["layer.weight"] + 1e-3}
    others.add(write_bundle(tmp_path / "b", make_spec(), changed, REFERENCES).fingerprint)
    assert len(others - {base.fingerprint}) == len(other) + 1
    assert re.fullmatch(r"[0-9a-f]{64}", base.fingerprint)


def hashes(manifest: Manifest) -> dict[str, Any]:
    return manifest.model_dump(include={"format", "weights_file", "weights_sha256", "references_sha256"})
