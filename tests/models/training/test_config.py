"""A configuration refuses what cannot train, and records what decided the outcome."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import OptionError
from models.training import TrainConfig

NAN = float("nan")


@pytest.mark.parametrize(
    "change",
    [
        {"identities": 1},
        {"images": 1},
        {"chunk": 1},
        {"steps": 0},
        {"threads": 0},
        {"dimension": 0},
        {"save_steps": 0},
        {"minutes": 0.0},
        {"save_minutes": NAN},
        {"learning_rate": NAN},
        {"learning_rate": float("inf")},
        {"clip_norm": 0.0},
        {"margin": -1.0},
        {"margin": NAN},
        {"triplet_weight": -0.1},
        {"id_weight": NAN},
        {"weight_decay": -1.0},
        {"label_smoothing": 1.0},
        {"warm_up": 1.0},
        {"ema_decay": 1.0},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_numbers_that_cannot_train_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(change))):
        TrainConfig(data=Path(), out=Path(), **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dimension": 1}, "Take a larger dimension"),
        ({"triplet_weight": 0.0}, "nothing is learned"),
    ],
)
def test_options_that_come_to_nothing_together_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        TrainConfig(data=Path(), out=Path(), **change)
    TrainConfig(data=Path(), out=Path(), **change, id_weight=1.0, normalize=False)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("network", "small_resnet"),
        ("augmentation", "camera"),
        ("mining", "semi_hard"),
        ("channels", "grey"),
        ("further_classes", "rotations"),
        ("device", "cuda"),
        ("precision", "bfloat16"),
    ],
)
def test_an_unknown_word_is_refused_with_those_that_are_known(name: str, known: str) -> None:
    with pytest.raises(OptionError, match=rf"{name} is 'nonsense'; known are .*{known}"):
        TrainConfig(data=Path(), out=Path(), **{name: "nonsense"})  # type: ignore[arg-type]


def test_two_losses_without_weight_are_refused() -> None:
    with pytest.raises(OptionError, match="nothing is learned"):
        TrainConfig(data=Path(), out=Path(), triplet_weight=0.0)
    assert TrainConfig(data=Path(), out=Path(), triplet_weight=0.0, id_weight=1.0).id_weight == 1


def test_identities_that_a_batch_makes_up_have_no_classifier() -> None:
    with pytest.raises(OptionError, match="compounds makes identities that no classifier knows"):
        TrainConfig(data=Path(), out=Path(), compounds=0.5, id_weight=1.0)
    with pytest.raises(OptionError, match=r"characters on light paper: take channels grey"):
        TrainConfig(data=Path(), out=Path(), compounds=0.5)


def test_pictures_that_are_turned_must_be_square() -> None:
    with pytest.raises(OptionError, match="96 x 64 is not square"):
        TrainConfig(data=Path(), out=Path(), width=64, further_classes="rotations")


@pytest.mark.parametrize(
    "change", [{"network": "transformers"}, {"network_config": "{}"}], ids=["without", "for another"]
)
def test_a_config_of_the_network_is_for_transformers_and_needed_there(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="transformers needs network_config"):
        TrainConfig(data=Path(), out=Path(), **change)


def test_the_config_of_the_network_is_in_the_architecture_without_its_places() -> None:
    given = json.dumps({"model_type": "vit", "_name_or_path": "/home/somebody/vit", "hidden_size": 16})
    config = TrainConfig(data=Path(), out=Path(), network="transformers", network_config=given)
    expected = {"model_type": "vit", "hidden_size": 16}
    assert json.loads(str(config.architecture()["config"])) == expected
    assert json.loads(config.record()["network_config"]) == expected
    other = TrainConfig(data=Path(), out=Path(), network="transformers", network_config="no JSON")
    with pytest.raises(OptionError, match="must be the JSON of a vision configuration"):
        other.architecture()


def test_the_record_is_json_without_paths() -> None:
    config = TrainConfig(data=Path("/a/data"), out=Path("/a/out"), pretrained=Path("/a/weights.pth"))
    text = json.dumps(config.record(), allow_nan=False)
    assert "/" not in text
    assert json.loads(text)["pretrained"] == "weights.pth"


def test_grey_input_and_a_neck_are_in_the_architecture_and_nothing_usual_is() -> None:
    plain = TrainConfig(data=Path(), out=Path(), dimension=7)
    assert plain.architecture() == {"dimension": 7}
    other = TrainConfig(data=Path(), out=Path(), dimension=7, channels="grey", neck=True)
    assert other.architecture() == {"dimension": 7, "channels": 1, "neck": True}
    assert (other.input().depth, len(other.input().mean)) == (1, 1)


def test_osnet_from_scratch_gives_embeddings_of_all_directions(tmp_path: Path) -> None:
    public = tmp_path / "osnet.pth"
    scratch = TrainConfig(data=tmp_path, out=tmp_path, network="osnet_x0_25")
    assert scratch.architecture()["rectified"] is False
    assert "rectified" not in dataclasses.replace(scratch, pretrained=public).architecture()
