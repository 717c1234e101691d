"""What was measured on an encoder comes into its bundle, with hashes of the reports, and changes no more."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from models.bundle import add_measurements, check_destination, read_bundle, write_bundle
from models.calibration import Calibration
from models.errors import BundleError, OptionError
from models.runtime import load_encoder, save_encoder
from tests.models.bundles import (
    REFERENCES,
    REPORTS,
    WEIGHTS,
    contents,
    edit_manifest,
    make_calibration,
    make_spec,
    write,
)
from tests.models.encoders import ENGINES, PICTURES, network, save, torch_spec

pytestmark = pytest.mark.usefixtures("one_thread")


def write_reported(folder: Path) -> None:
    write_bundle(folder, make_spec(), WEIGHTS, REFERENCES, reports=REPORTS)


def test_reports_lie_beside_the_manifest_and_come_back(tmp_path: Path) -> None:
    write_reported(tmp_path / "b")
    files = contents(tmp_path / "b")
    assert {name: files[name] for name in REPORTS} == REPORTS
    assert read_bundle(tmp_path / "b").reports == REPORTS


@pytest.mark.parametrize("name", list(REPORTS))
def test_a_report_that_was_deleted_is_no_loss_to_the_encoder(tmp_path: Path, name: str) -> None:
    write_reported(tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    bundle = read_bundle(tmp_path / "b")
    assert bundle.reports == {other: report for other, report in REPORTS.items() if other != name}
    assert add_measurements(tmp_path / "b").reports_sha256.keys() == bundle.reports.keys()


@pytest.mark.parametrize("name", list(REPORTS))
@pytest.mark.parametrize("content", [b"", b"better figures"])
def test_a_report_that_was_changed_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    write_reported(tmp_path / "b")
    (tmp_path / "b" / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} is not the file that its manifest names"):
        read_bundle(tmp_path / "b")


def test_a_report_that_the_manifest_does_not_name_is_not_the_bundles(tmp_path: Path) -> None:
    write(tmp_path / "b")
    (tmp_path / "b" / "report.html").write_bytes(b"better figures")
    assert read_bundle(tmp_path / "b").reports == {}


def test_a_report_of_another_name_is_refused(tmp_path: Path) -> None:
    reports = {"notes.txt": b"."}
    with pytest.raises(OptionError, match=r"reports_sha256 'notes\.txt': "):
        write_bundle(tmp_path / "b", make_spec(), WEIGHTS, REFERENCES, reports=reports)
    assert not (tmp_path / "b").exists()


def test_a_bundle_with_reports_is_replaced_as_any_other(tmp_path: Path) -> None:
    write_reported(tmp_path / "b")
    check_destination(tmp_path / "b")
    write(tmp_path / "b")
    assert not contents(tmp_path / "b").keys() & REPORTS.keys()


@pytest.mark.parametrize("engine", ENGINES)
def test_measurements_are_added_and_all_else_stays(tmp_path: Path, engine: str) -> None:
    saved = save(tmp_path / "b", engine).manifest
    before = contents(tmp_path / "b")
    evaluation, calibration = {"rank_1": 0.5, "queries": 4}, make_calibration()
    added = add_measurements(tmp_path / "b", evaluation=evaluation, calibration=calibration, reports=REPORTS)
    after = contents(tmp_path / "b")
    assert json.loads(after.pop("manifest.json")) == json.loads(before.pop("manifest.json")) | {
        "evaluation": evaluation,
        "calibration": calibration,
        "reports_sha256": added.reports_sha256,
    }
    assert after == before | REPORTS
    assert added.fingerprint == saved.fingerprint
    loaded = load_encoder(tmp_path / "b", device="cpu").manifest
    assert loaded == added
    assert loaded.calibration is not None
    assert Calibration.from_record(loaded.calibration).at(0.1).threshold == pytest.approx(0.2)


def test_what_is_not_measured_again_stays(tmp_path: Path) -> None:
    write_reported(tmp_path / "b")
    add_measurements(tmp_path / "b", evaluation={"rank_1": 0.5})
    manifest = add_measurements(tmp_path / "b", calibration=make_calibration())
    assert (manifest.evaluation, manifest.calibration) == ({"rank_1": 0.5}, make_calibration())
    assert read_bundle(tmp_path / "b").reports == REPORTS
    add_measurements(tmp_path / "b", evaluation={"rank_1": 0.6}, reports={"evaluation.json": b"[]"})
    assert read_bundle(tmp_path / "b").reports == {"evaluation.json": b"[]"}


@pytest.mark.parametrize(
    ("calibration", "words"),
    [({"far": 0.1}, "This is no calibration record"), (make_calibration("euclidean"), "euclidean distances")],
)
def test_thresholds_that_do_not_fit_change_nothing(
    tmp_path: Path, calibration: dict[str, Any], words: str
) -> None:
    write_reported(tmp_path / "b")
    before = contents(tmp_path)
    with pytest.raises(OptionError, match=words) as refused:
        add_measurements(tmp_path / "b", calibration=calibration)
    assert len(str(refused.value)) < 400
    assert contents(tmp_path) == before


def test_a_disk_that_is_full_leaves_the_bundle_as_it_was(tmp_path: Path) -> None:
    write_reported(tmp_path / "b")
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # no file may be larger
    try:
        with pytest.raises(BundleError, match="cannot be written"):
            add_measurements(tmp_path / "b", reports={"report.html": bytes(20_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == before


def test_a_damaged_bundle_is_not_measured_into(tmp_path: Path) -> None:
    write_reported(tmp_path / "b")
    edit_manifest(tmp_path / "b", lambda content: content.update(weights_sha256="0" * 64))
    before = contents(tmp_path)
    with pytest.raises(BundleError, match="is not the file that its manifest names"):
        add_measurements(tmp_path / "b", evaluation={"rank_1": 1.0})
    assert contents(tmp_path) == before


def test_an_encoder_is_saved_with_its_reports(tmp_path: Path) -> None:
    save_encoder(tmp_path / "b", torch_spec(), network().state_dict(), PICTURES, reports=REPORTS)
    assert read_bundle(tmp_path / "b").reports == REPORTS
