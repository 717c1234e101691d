"""Training on drawn vehicles: the loss falls, and the same configuration gives the same weights."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from models.augmentation import augment
from models.bundle import read_bundle
from models.datasets import load_pixels, read_csv
from models.drawing import draw_dataset, draw_vehicle
from models.errors import BundleError, DatasetError, OptionError
from models.losses import batch_triplet_loss
from models.progress import Report
from models.runtime import load_encoder
from models.training import TrainConfig, fit, train


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=20, views=2).parent


@pytest.fixture(scope="module")
def config(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return TrainConfig(
        data=drawn,
        out=tmp_path_factory.mktemp("bundles") / "tiny",
        name="tiny",
        height=32,
        width=32,
        dimension=16,
        identities=6,
        images=2,
        steps=3,
        threads=1,
    )


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


def test_a_training_leaves_torch_as_it_was(config: TrainConfig, tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train(dataclasses.replace(config, out=tmp_path / "tiny", steps=1, val_split=None, threads=2))
    assert torch.get_num_threads() == threads
    torch.testing.assert_close(torch.get_rng_state(), state)


def test_the_loss_falls_below_an_untrained_networks(config: TrainConfig) -> None:
    images = read_csv(config.data, "train")
    pixels, labels = load_pixels(images, config.input()), images.labels()

    def loss_after(steps: int) -> float:
        longer = dataclasses.replace(config, steps=steps, identities=12, learning_rate=3e-3)
        network, _ = fit(longer, pixels, labels)
        with torch.inference_mode():
            x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127.5) / 64
            return float(
                batch_triplet_loss(
                    network(x), torch.from_numpy(labels), margin=0.2, normalize=True, reduction="mean"
                ).loss
            )

    assert loss_after(40) < 0.5 * loss_after(1)


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
@pytest.mark.parametrize("margin", [0.3, "soft"])
def test_every_mining_and_margin_trains(
    config: TrainConfig, mining: Literal["all", "hard", "semi_hard"], margin: float | Literal["soft"]
) -> None:
    images = read_csv(config.data, "train")
    changed = dataclasses.replace(config, steps=2, mining=mining, margin=margin)
    _, outcome = fit(changed, load_pixels(images, config.input()), images.labels())
    assert outcome["steps"] == 2


def test_a_time_budget_ends_training(config: TrainConfig) -> None:
    images = read_csv(config.data, "train")
    budget = dataclasses.replace(config, minutes=0.5 / 60, steps=1_000_000)
    _, outcome = fit(budget, load_pixels(images, config.input()), images.labels())
    assert 1 <= outcome["steps"] < 1000


def test_ctrl_c_says_how_far_it_came(config: TrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    def interrupt(_: logging.LogRecord) -> bool:
        raise KeyboardInterrupt

    images = read_csv(config.data, "train")
    progress = logging.getLogger("models.progress")  # its first line comes with step 50
    progress.addFilter(interrupt)
    try:
        with caplog.at_level(logging.INFO), pytest.raises(KeyboardInterrupt):
            fit(dataclasses.replace(config, steps=1000), load_pixels(images, config.input()), images.labels())
    finally:
        progress.removeFilter(interrupt)
    assert caplog.messages == ["Stopped by Ctrl-C after step 50. Nothing was written."]


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
        ({"height": 0, "width": 0}, "height 0: "),
        ({"width": 5000}, "width 5000: "),
        ({"dimension": 70_000}, "dimension 70000: "),
    ],
)
def test_what_no_bundle_can_say_is_refused_before_training(
    config: TrainConfig, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        train(dataclasses.replace(config, out=tmp_path / "x", steps=1_000_000, **change))
    assert not (tmp_path / "x").exists()


def test_a_missing_split_is_found_before_training(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'test'"):
        train(dataclasses.replace(config, out=tmp_path / "x", val_split="test", steps=1_000_000))


@pytest.mark.parametrize(
    "change",
    [
        {"identities": 1},
        {"images": 1},
        {"steps": 0},
        {"minutes": 0.0},
        {"learning_rate": float("nan")},
        {"margin": -1.0},
        {"margin": float("nan")},
        {"dimension": 0},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_options_that_cannot_train_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(change))):
        TrainConfig(data=Path(), out=Path(), **change)  # type: ignore[arg-type]


def test_a_collapse_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    embeddings = torch.ones(4, 2)
    result = batch_triplet_loss(embeddings, [0, 0, 1, 1])
    with caplog.at_level(logging.WARNING), Report(steps=100) as report:
        report.step(50, result, embeddings)
        report.step(100, result, embeddings)
    assert [record.message.startswith("Collapse: at step 50") for record in caplog.records] == [True]


def test_augmentation_is_seeded_stays_in_range_and_leaves_its_input_alone() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 3, 20, 30), dtype=np.uint8))
    before = images.clone()
    one, same, other = (augment(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(images, before)
    assert (one.shape, one.dtype) == (images.shape, torch.float32)
    assert 0 <= float(one.min()) <= float(one.max()) <= 255
    assert augment(images.float(), np.random.default_rng(1)).equal(one)
    assert torch.equal(images.float(), before.float())
