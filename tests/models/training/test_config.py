"""A configuration refuses what cannot train, and records what decided the outcome."""

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
