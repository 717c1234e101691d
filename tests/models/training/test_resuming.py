"""A training that is stopped or killed goes on to the very weights of one that was not."""

import dataclasses
import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.augmentation import AUGMENTATIONS
from models.bundle import read_bundle
from models.errors import BundleError, InterruptedWorkError, OptionError
from models.training import TrainConfig, fit, train
from models.training.checkpoint import replace_file, training_folder
from tests.models.training.killed_training import train_and_count, train_and_die, train_and_die_anywhere
from tests.models.training.processes import start
from tests.models.training.small import pictures

CHECKPOINT = "checkpoint.safetensors"
EVERYTHING: dict[str, Any] = {
    "steps": 12,
    "id_weight": 0.5,
    "neck": True,
    "ema_decay": 0.9,
    "val_split": None,
    "save_steps": 2,
}


@pytest.fixture
def stopping_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets a signal arrive while the n-th batch, from 0, is drawn."""
    camera = AUGMENTATIONS["camera"]

    def stop(step: int, number: signal.Signals = signal.SIGINT) -> None:
        calls = 0

        def augment(images: Tensor, rng: np.random.Generator) -> Tensor:
            nonlocal calls
            if calls == step:
                signal.raise_signal(number)
            calls += 1
            return camera(images, rng)

        monkeypatch.setitem(AUGMENTATIONS, "camera", augment)

    return stop


def resumed(config: TrainConfig) -> dict[str, Any]:
    """Finish a training; return its bundle's hash of the weights and its outcome."""
    manifest = read_bundle(train(config, resume=True)).manifest
    assert manifest.training is not None
    return {"sha256": manifest.weights_sha256, "steps": manifest.training["outcome"]["steps"]}


def test_five_kills_at_random_steps_change_nothing(config: TrainConfig, tmp_path: Path) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "killed", **EVERYTHING)
    whole = train(dataclasses.replace(changed, out=tmp_path / "whole"))
    # Each comes two or three steps, and so one checkpoint, further; five of them end before step 12.
    for dies_at in random.Random(0).choices([2, 3], k=5):
        assert start(train_and_die, (changed, dies_at)) == [-signal.SIGKILL]
        assert not changed.out.exists()
    assert start(train_and_die, (changed, -1)) == [0]
    assert read_bundle(changed.out).manifest.weights_sha256 == read_bundle(whole).manifest.weights_sha256


def test_five_kills_at_random_places_of_a_step_change_nothing(config: TrainConfig, tmp_path: Path) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "killed", **EVERYTHING | {"save_steps": 1})
    whole = dataclasses.replace(changed, out=tmp_path / "whole")
    assert start(train_and_count, (whole, tmp_path / "count")) == [0]
    count = int((tmp_path / "count").read_text())
    # Five of at most a fifth of all that is done never come to the end.
    for dies_at in random.Random(1).sample(range(count // 10, count // 5), k=5):
        assert start(train_and_die_anywhere, (changed, dies_at)) == [-signal.SIGKILL]
        assert not changed.out.exists()
    assert start(train_and_die, (changed, -1)) == [0]
    assert read_bundle(changed.out).manifest.weights_sha256 == read_bundle(whole.out).manifest.weights_sha256


@pytest.mark.parametrize(
    ("number", "further"),
    [
        (signal.SIGINT, {}),
        (signal.SIGTERM, {"chunk": 5, "precision": "bfloat16", "further_classes": "rotations"}),
    ],
)
def test_a_signal_saves_and_the_rest_is_done_later(
    config: TrainConfig, tmp_path: Path, stopping_at: Any, number: signal.Signals, further: dict[str, Any]
) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "stopped", **EVERYTHING, **further)
    # Two steps are left: what the classifier's optimiser forgot shows in the network one step later.
    changed = dataclasses.replace(changed, save_steps=None, steps=4)
    whole = read_bundle(train(dataclasses.replace(changed, out=tmp_path / "whole"))).manifest
    stopping_at(1, number)
    with pytest.raises(
        InterruptedWorkError, match=r"stopped after step 2\. Go on from .* --resume"
    ) as raised:
        train(changed)
    assert raised.value.signal == number
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not changed.out.exists()
    assert resumed(changed) == {"sha256": whole.weights_sha256, "steps": 4}


def test_a_training_without_a_checkpoint_keeps_nothing_and_says_so(
    config: TrainConfig, stopping_at: Any
) -> None:
    stopping_at(2)
    with pytest.raises(InterruptedWorkError, match=r"stopped after step 3\. Nothing was kept"):
        fit(dataclasses.replace(config, steps=100), pictures(config))


def test_a_second_ctrl_c_ends_at_once(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(images: Tensor, rng: np.random.Generator) -> Tensor:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second must end it")

    monkeypatch.setitem(AUGMENTATIONS, "camera", impatient)
    with pytest.raises(KeyboardInterrupt):
        fit(config, pictures(config))


def test_an_unfinished_training_is_not_overwritten_unless_it_is_asked_for(
    config: TrainConfig, tmp_path: Path, stopping_at: Any
) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=3)
    stopping_at(1)
    with pytest.raises(InterruptedWorkError):
        train(changed)
    with pytest.raises(OptionError, match=r"stopped after step 2\. Go on with --resume.*--fresh"):
        train(changed)
    assert train(changed, fresh=True) == changed.out


def test_a_finished_training_resumed_writes_its_bundle_without_a_step(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=2, ema_decay=0.5)
    before = read_bundle(train(changed)).manifest
    for file in changed.out.iterdir():
        file.unlink()

    def never(images: Tensor, rng: np.random.Generator) -> Tensor:
        raise AssertionError("there is no step left")

    with monkeypatch.context() as patch:
        patch.setitem(AUGMENTATIONS, "camera", never)
        assert resumed(changed) == {"sha256": before.weights_sha256, "steps": 2}
    shutil.rmtree(changed.out)
    assert train(changed) == changed.out  # nothing is lost by beginning anew


@pytest.mark.parametrize("fresh", [False, True])
def test_a_training_begun_anew_is_not_resumed_from_the_one_before(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=1)
    train(changed)
    if not fresh:
        shutil.rmtree(changed.out)

    def ended(images: Tensor, rng: np.random.Generator) -> Tensor:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(AUGMENTATIONS, "camera", ended)
        with pytest.raises(KeyboardInterrupt):
            train(changed, fresh=fresh)
    assert not (tmp_path / "run.training" / CHECKPOINT).exists()


def test_a_checkpoint_that_cannot_be_written_is_named_and_leaves_nothing_half_written(
    config: TrainConfig, tmp_path: Path
) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=1)
    place = tmp_path / "run.training" / CHECKPOINT
    place.mkdir(parents=True)
    (place / "in the way").touch()
    with pytest.raises(OSError, match="checkpoint") as refusal:
        replace_file(place, b"new")
    assert refusal.value.filename == str(place)
    assert not list(place.parent.glob("*.partial"))
    with pytest.raises(BundleError, match="cannot be read"):
        train(changed, resume=True)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"steps": 3}, "steps"),
        ({"id_weight": 0.5}, "id_weight"),
        ({"seed": 1}, "seed"),
        ({"neck": True}, "neck"),
    ],
)
def test_a_checkpoint_of_other_options_is_refused_by_the_first_that_differs(
    config: TrainConfig, tmp_path: Path, change: dict[str, Any], name: str
) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=2)
    train(changed)
    with pytest.raises(OptionError, match=rf"was made with {name} .* and .* is asked for.*--fresh"):
        train(dataclasses.replace(changed, **change), resume=True)
    # How often it is written decides nothing.
    train(dataclasses.replace(changed, save_steps=1, save_minutes=None), resume=True)


def test_a_checkpoint_of_other_pictures_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=1)
    train(changed)
    with pytest.raises(OptionError, match="trained on other pictures"):
        train(dataclasses.replace(changed, data=half_of(config.data, tmp_path / "half")), resume=True)


def half_of(data: Path, folder: Path) -> Path:
    """Make a dataset that lists the first pictures of another."""
    folder.mkdir()
    lines = (data / "images.csv").read_text().splitlines(keepends=True)
    for file in data.glob("*.jpg"):
        (folder / file.name).symlink_to(file)
    (folder / "images.csv").write_text("".join(lines[:25]))
    return folder


@pytest.mark.parametrize("damage", [b"", b"no safetensors", "half"])
def test_a_damaged_checkpoint_is_refused(config: TrainConfig, tmp_path: Path, damage: bytes | str) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=1)
    train(changed)
    file = tmp_path / "run.training" / CHECKPOINT
    content = file.read_bytes()
    file.write_bytes(damage if isinstance(damage, bytes) else content[: len(content) // 2])
    with pytest.raises(BundleError, match="is damaged"):
        train(changed, resume=True)
    shutil.rmtree(changed.out)
    with pytest.raises(BundleError, match="is damaged"):
        train(changed)
    train(changed, fresh=True)


def test_resuming_without_a_checkpoint_begins(config: TrainConfig, tmp_path: Path) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=1)
    assert resumed(changed)["steps"] == 1


def test_what_a_dying_process_left_half_written_is_no_hindrance(config: TrainConfig, tmp_path: Path) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, steps=1)
    (tmp_path / "run.training").mkdir()
    (tmp_path / "run.training" / "checkpoint.partial").write_bytes(b"half")
    train(changed)
    assert (tmp_path / "run.training" / CHECKPOINT).is_file()
    assert not (tmp_path / "run.training" / "checkpoint.partial").exists()


def test_the_folder_beside_a_bundles_is_found_from_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert training_folder(Path()) == tmp_path.resolve() / "mine.training"


def test_minutes_before_an_interruption_count(config: TrainConfig, tmp_path: Path, stopping_at: Any) -> None:
    changed = dataclasses.replace(config, out=tmp_path / "run", val_split=None, minutes=1000.0)
    stopping_at(1)
    with pytest.raises(InterruptedWorkError):
        train(changed)
    file = tmp_path / "run.training" / CHECKPOINT
    with safe_open(file, "pt") as before:
        header = before.metadata()
        tensors = {name: before.get_tensor(name) for name in before.keys()}  # noqa: SIM118 - no mapping
    kept = json.loads(header["training"])
    assert 0 < kept["report"]["seconds"] < 60_000
    kept["report"]["seconds"] = 60_000.0
    save_file(tensors, file, header | {"training": json.dumps(kept)})
    assert resumed(changed)["steps"] == 2
