"""Training on drawn vehicles: the loss falls, and the same configuration gives the same weights."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from models.augmentation import AUGMENTATIONS
from models.bundle import read_bundle
from models.datasets import read_csv
from models.drawing import draw_vehicle
from models.errors import BundleError, DatasetError, OptionError
from models.losses import batch_triplet_loss
from models.runtime import load_encoder
from models.training import TrainConfig, fit, run, train
from tests.models.training.small import pictures


@pytest.fixture(scope="module")
def bundle(config: TrainConfig) -> Path:
    return train(config)


def test_a_bundle_is_written_that_loads_and_says_how_it_was_made(bundle: Path, drawn: Path) -> None:
    encoder = load_encoder(bundle, device="cpu")
    manifest = encoder.manifest
    assert (manifest.name, manifest.dimension, manifest.normalize, manifest.metric) == (
        "tiny",
        16,
        True,
        "euclidean",
    )
    assert manifest.training is not None
    assert manifest.training["dataset"] == drawn.name
    assert (manifest.training["images"], manifest.training["identities"]) == (32, 16)
    assert (manifest.training["config"]["seed"], manifest.training["outcome"]["steps"]) == (0, 3)
    assert manifest.evaluation is not None
    assert manifest.evaluation["retrieval"]["1 -> 2"]["queries"] == 4


def test_a_bundle_names_no_path_of_this_machine(bundle: Path, drawn: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    assert str(drawn.parent) not in text
    assert str(bundle.parent) not in text
    assert "/" not in json.dumps(json.loads(text)["training"])


def test_the_references_are_pictures_that_the_project_draws(bundle: Path) -> None:
    inputs = read_bundle(bundle).inputs
    for pixels, identity in zip(inputs, range(1, 5), strict=True):
        # Another resize than the one under test: of the same vehicle, and no other, it gives about the same.
        drawn_again = [draw_vehicle(number, 0).resize((32, 32)) for number in (identity, identity + 1)]
        right, wrong = (np.abs(np.asarray(picture).astype(float) - pixels).mean() for picture in drawn_again)
        assert right < 5 < wrong


def test_the_same_configuration_gives_the_same_weights(
    bundle: Path, config: TrainConfig, tmp_path: Path
) -> None:
    torch.rand(3)  # whatever the process drew before
    again = train(dataclasses.replace(config, out=tmp_path / "again"))
    assert read_bundle(again).weights == read_bundle(bundle).weights
    other = train(dataclasses.replace(config, out=tmp_path / "other", seed=1, val_split=None))
    assert read_bundle(other).weights != read_bundle(bundle).weights
    assert read_bundle(other).manifest.evaluation is None


def test_a_set_that_does_not_fit_into_memory_trains_the_same(
    bundle: Path, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_IN_MEMORY", 0)
    again = train(dataclasses.replace(config, out=tmp_path / "again"))
    assert read_bundle(again).weights == read_bundle(bundle).weights


def test_pictures_of_nobody_are_not_learned(config: TrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(config.data, folder)
    table = (folder / "images.csv").read_text()
    (folder / "images.csv").write_text(table.replace(",vehicle_0001,", ",-1,"))
    made = read_bundle(train(dataclasses.replace(config, data=folder, out=tmp_path / "b"))).manifest
    assert made.training is not None
    assert (made.training["images"], made.training["identities"]) == (30, 15)


def test_grey_input_and_turned_classes_make_a_bundle(config: TrainConfig, tmp_path: Path) -> None:
    grey = dataclasses.replace(
        config,
        out=tmp_path / "grey",
        channels="grey",
        further_classes="rotations",
        camera_balanced=True,
        id_weight=1.0,
        identities=20,
    )
    encoder = load_encoder(train(grey), device="cpu")
    assert encoder.manifest.input.depth == 1
    assert encoder.encode(np.zeros((2, 32, 32, 1), np.uint8)).shape == (2, 16)


def test_the_average_is_what_is_bundled(bundle: Path, config: TrainConfig, tmp_path: Path) -> None:
    averaged = train(dataclasses.replace(config, out=tmp_path / "averaged", ema_decay=0.9))
    last, mean = (read_bundle(path).state_dict() for path in (bundle, averaged))
    name = "embedding.weight"
    assert not torch.equal(last[name], mean[name])
    # A decay of 0 forgets all but the last.
    forgetful = train(dataclasses.replace(config, out=tmp_path / "forgetful", ema_decay=0.0))
    torch.testing.assert_close(read_bundle(forgetful).state_dict(), last, rtol=0, atol=0)


def test_what_was_logged_lies_beside_the_bundle(config: TrainConfig, tmp_path: Path) -> None:
    train(dataclasses.replace(config, out=tmp_path / "logged", id_weight=0.5, steps=2))
    record = json.loads((tmp_path / "logged.training" / "log.jsonl").read_text().splitlines()[-1])
    assert record["step"] == 2
    assert record["losses/identity"] > 0


def test_a_training_leaves_torch_as_it_was(config: TrainConfig, tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train(dataclasses.replace(config, out=tmp_path / "tiny", steps=1, val_split=None, threads=2))
    assert torch.get_num_threads() == threads
    torch.testing.assert_close(torch.get_rng_state(), state)


def test_the_loss_falls_below_an_untrained_networks(config: TrainConfig) -> None:
    data = pictures(config)

    def loss_after(steps: int) -> float:
        longer = dataclasses.replace(config, steps=steps, identities=12, learning_rate=3e-3)
        network, _ = fit(longer, data)
        with torch.inference_mode():
            x = (torch.from_numpy(np.asarray(data.pixels)).permute(0, 3, 1, 2).float() - 127.5) / 64
            return float(
                batch_triplet_loss(
                    network(x), torch.from_numpy(data.labels), margin=0.2, normalize=True, reduction="mean"
                ).loss
            )

    assert loss_after(40) < 0.5 * loss_after(1)


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
@pytest.mark.parametrize("margin", [0.3, "soft"])
def test_every_mining_and_margin_trains(
    config: TrainConfig, mining: Literal["all", "hard", "semi_hard"], margin: float | Literal["soft"]
) -> None:
    _, outcome = fit(dataclasses.replace(config, steps=2, mining=mining, margin=margin), pictures(config))
    assert outcome["steps"] == 2


def test_a_time_budget_ends_training(config: TrainConfig) -> None:
    _, outcome = fit(dataclasses.replace(config, minutes=0.5 / 60, steps=1_000_000), pictures(config))
    assert 1 <= outcome["steps"] < 1000


def test_a_folder_of_something_else_is_refused_before_training(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        train(dataclasses.replace(config, out=tmp_path, data=tmp_path / "nowhere"))


def test_a_destination_that_cannot_be_written_is_refused_before_training(
    config: TrainConfig, bundle: Path, tmp_path: Path
) -> None:
    kept = shutil.copytree(bundle, tmp_path / "kept")
    (kept / "notes.txt").write_text("do not lose")
    file = tmp_path / "file"
    file.touch()
    for out, words in [
        (kept, "also holds notes.txt"),
        (file, "is a file"),
        (file / "within", "is no folder that may be written to"),
    ]:
        with pytest.raises(BundleError, match=words):
            train(dataclasses.replace(config, out=out, steps=1_000_000))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "my bundle"}, "name 'my bundle': "),
        ({"height": 0, "width": 0}, "height is 0; it must be from 8 to 4096 pixels"),
        ({"width": 5000}, "width is 5000; it must be from 8 to 4096 pixels"),
        ({"dimension": 70_000}, "dimension 70000: "),
    ],
)
def test_what_no_bundle_can_say_is_refused_before_training(
    config: TrainConfig, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        train(dataclasses.replace(config, out=tmp_path / "x", steps=1_000_000, **change))
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "x.training").exists()


def test_a_damaged_picture_to_measure_on_is_found_before_training(
    config: TrainConfig, tmp_path: Path
) -> None:
    folder = shutil.copytree(config.data, tmp_path / "data")
    sample = read_csv(folder, "val").samples[0]
    sample.path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=sample.path.name):
        train(dataclasses.replace(config, data=folder, out=tmp_path / "x", steps=1_000_000))


def test_the_kernels_of_a_gpu_are_those_that_repeat(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(images: Tensor, rng: np.random.Generator) -> Tensor:
        kernels = torch.backends.cudnn
        seen.append((kernels.enabled, kernels.deterministic, kernels.benchmark))
        return images.float()

    monkeypatch.setitem(AUGMENTATIONS, "camera", look)
    train(dataclasses.replace(config, out=tmp_path / "x", steps=1, val_split=None))
    assert seen == [(True, True, False)]


def test_a_missing_split_is_found_before_training(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'test'"):
        train(dataclasses.replace(config, out=tmp_path / "x", val_split="test", steps=1_000_000))
