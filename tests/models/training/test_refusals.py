"""What a training refuses before it begins: to lose a bundle, to spoil a dataset, to measure nothing."""

import dataclasses
import fcntl
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models.bundle import read_bundle
from models.errors import BundleError, DatasetError, InputError, NonFiniteError, OptionError
from models.training import TrainConfig, train
from models.training.checkpoint import training_folder
from tests.models.datasets.fakes import lfw

SHORT = {"steps": 1, "save_minutes": None, "report_pictures": False}


def changed(config: TrainConfig, **values: object) -> TrainConfig:
    return dataclasses.replace(config, **(SHORT | values))  # type: ignore[arg-type]  # options by name


def rewritten(data: Path, to: Path, change: Callable[[list[str]], list[str]]) -> Path:
    """Copy a dataset, and change the rows of its table."""
    shutil.copytree(data, to)
    table = to / "images.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *(",".join(change(row.split(","))) for row in rows)]))
    return to


def test_a_bundle_is_replaced_only_where_that_is_asked_for(config: TrainConfig, tmp_path: Path) -> None:
    out = tmp_path / "b"
    train(changed(config, out=out, val_split=None))
    first = read_bundle(out).manifest.fingerprint
    with pytest.raises(BundleError, match=r"holds a bundle\. Name a new folder with --out, or .* by --fresh"):
        train(changed(config, out=out, val_split=None, seed=1))
    assert read_bundle(out).manifest.fingerprint == first
    train(changed(config, out=out, val_split=None, seed=1), fresh=True)
    assert read_bundle(out).manifest.fingerprint != first


def test_a_bundle_does_not_go_into_the_dataset(config: TrainConfig, tmp_path: Path) -> None:
    data = rewritten(config.data, tmp_path / "data", lambda row: row)
    for out in (data, data / "b", tmp_path / "data" / ".." / "data" / "b"):
        with pytest.raises(BundleError, match="the dataset's own folder"):
            train(changed(config, data=data, out=out))
    train(changed(config, data=data, out=tmp_path / "data-b", val_split=None))


def test_two_trainings_do_not_write_to_one_folder(config: TrainConfig, tmp_path: Path) -> None:
    out = tmp_path / "b"
    folder = training_folder(out)
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OptionError, match="Another training writes to"):
            train(changed(config, out=out, val_split=None))
    train(changed(config, out=out, val_split=None))


def test_what_is_learned_from_is_not_measured_on(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'train' is to be learned from and measured on.*--hold-out 0\.2"):
        train(changed(config, out=tmp_path / "b", val_split="train"))
    faces = lfw(tmp_path / "faces")
    with pytest.raises(
        DatasetError, match=r"2 identities of 'all' are in 'train' too, first .*--hold-out 0\.2"
    ):
        train(changed(config, data=faces, out=tmp_path / "b", val_split="all"))
    assert not training_folder(tmp_path / "b").exists()


def test_what_cannot_be_measured_is_said_before_the_training(config: TrainConfig, tmp_path: Path) -> None:
    one_camera = rewritten(config.data, tmp_path / "one", lambda row: [*row[:2], "1", row[3]])
    with pytest.raises(InputError, match=r"no other camera shows its identity.*--val-split ''"):
        train(changed(config, data=one_camera, out=tmp_path / "b"))
    assert not training_folder(tmp_path / "b").exists()


def test_cameras_that_are_half_known_cannot_be_balanced(config: TrainConfig, tmp_path: Path) -> None:
    half = rewritten(
        config.data,
        tmp_path / "half",
        lambda row: [*row[:2], "" if row[1] == "vehicle_0001" else row[2], row[3]],
    )
    with pytest.raises(OptionError, match=r"2 of 32 pictures of half/train have no camera\. Fill"):
        train(changed(config, data=half, out=tmp_path / "b", camera_balanced=True))


def test_the_bundle_says_what_makes_its_figures_weak(
    config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = rewritten(
        config.data,
        tmp_path / "few",
        lambda row: [*row[:3], "val" if row[1] == "vehicle_0005" else "train"],
    )
    with caplog.at_level(logging.WARNING):
        train(changed(config, data=few, out=tmp_path / "b"))
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    for sentence in manifest["evaluation"]["warnings"]:
        assert sentence in caplog.text
    assert "The gallery shows one identity only" in " ".join(manifest["evaluation"]["warnings"])


def test_a_training_that_diverges_says_at_which_step_and_what_to_do(
    config: TrainConfig, tmp_path: Path
) -> None:
    wild = changed(config, out=tmp_path / "b", val_split=None, steps=20, learning_rate=1e30)
    with pytest.raises(NonFiniteError, match=r"Training diverged at step \d+: .*lower learning rate"):
        train(wild)
