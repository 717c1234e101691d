"""`lookalike train` refuses what it cannot do with a sentence, trains, goes on, and shares its work."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from models.augmentation import AUGMENTATIONS
from models.bundle import read_bundle
from models.drawing import draw_dataset
from models.manifest import Name
from models.training import TrainConfig
from service.cli.encoders import NAME
from service.cli.training import train
from tests.service.cli.commands import run

SMALL = ("--size", "32x32", "--identities", "2", "--dimension", "8", "--threads", "1")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=10, views=2).parent


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(
            (name, "0")
            for name in ("dimension", "steps", "threads", "save-steps", "learning-rate", "minutes")
        ),
        *((name, "1") for name in ("identities", "images", "chunk", "warm-up", "ema-decay")),
        *((name, "nonsense") for name in ("mining", "channels", "device", "precision", "further-classes")),
        ("id-weight", "-1"),
        ("seed", "-1"),
        *(("size", size) for size in ("0x0", "96x0", "\u00b2x96", "96", "x", "-1x5")),
        ("margin", "wide"),
    ],
)
def test_train_refuses_an_option_by_its_name(drawn: Path, tmp_path: Path, option: str, value: str) -> None:
    result = run("train", drawn, "--out", tmp_path / "out", f"--{option}", value)
    assert result.exit_code == 2
    assert f"--{option}" in result.output


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("b", ["--margin", "-1"], "Error: margin must be a finite number greater than 0, not -1.0."),
        ("b", ["--network", "resnet9"], "Error: network is 'resnet9'; known are "),
        ("b", ["--augmentation", "fog"], "Error: augmentation is 'fog'; known are "),
        ("b", ["--triplet-weight", "0"], "nothing is learned"),
        ("b", ["--network", "transformers"], "transformers needs network_config"),
        ("b", ["--size", "8x8", "--network", "osnet_x0_25"], "osnet_x0_25 cannot take pictures of 8 x 8"),
        ("b", ["--size", "9000x96"], "Error: height is 9000; it must be from 8 to 4096 pixels."),
        ("b", ["--val-split", "test"], "no split 'test'"),
        ("b", ["--name", "../x y"], "name '../x y': an encoder cannot be called so: a letter from A to Z"),
        ("b", ["--hold-out", "nope"], "it has no groups. Hold out"),
        ("b", ["--pretrained", __file__], "Give a file that torch.save or safetensors wrote"),
    ],
)
def test_train_says_what_it_cannot_do_before_the_first_step(
    drawn: Path, tmp_path: Path, name: str, arguments: list[str], words: str
) -> None:
    result = run(
        "train", drawn, "--out", tmp_path / name, "--identities", "2", "--steps", "1000000", *arguments
    )
    assert result.exit_code == 1
    assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_no_folder_can_be_made_is_refused_with_advice(drawn: Path) -> None:
    refused = run("train", drawn, "--out", "/proc/x", "--identities", "2")
    assert refused.exit_code == 1
    assert "Choose another place with --out." in refused.output


def test_the_defaults_are_those_of_the_configuration(drawn: Path) -> None:
    usual = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    for name in ("data", "out", "height", "width"):
        del usual[name]
    usual |= {"margin": str(usual["margin"]), "name": None, "licence": "not stated"}
    given = train.make_context("train", [str(drawn), "--out", "out"]).params
    further = {"data": drawn, "out": Path("out"), "size": "96x96", "resume": False, "fresh": False}
    assert given == usual | further


def test_a_bundle_is_made_and_made_again_from_the_checkpoint(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    arguments = ("train", drawn, "--out", out, *SMALL, "--steps", "2", "--id-weight", "0.5", "--neck")
    assert run(*arguments).exit_code == 0
    first = read_bundle(out).manifest
    assert (first.name, first.architecture and first.architecture.params["neck"]) == ("mine", True)
    assert run(*arguments, "--resume").exit_code == 0
    assert read_bundle(out).manifest.weights_sha256 == first.weights_sha256
    other = run(*arguments, "--resume", "--learning-rate", "0.1")
    assert other.exit_code == 1
    assert "was made with learning_rate 0.002, and 0.1 is asked for" in other.output


def test_a_neck_with_nothing_to_part_is_warned_of(
    drawn: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = (*SMALL, "--steps", "1", "--val-split", "", "--neck")
    for number, further in enumerate(((), ("--id-weight", "1"))):
        assert run("train", drawn, "--out", tmp_path / str(number), *arguments, *further).exit_code == 0
    assert len([one for one in caplog.messages if "Give id_weight too" in one]) == 1


def test_what_was_held_out_can_be_measured_again(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    options = ("--out", out, *SMALL, "--steps", "1", "--hold-out", "0.4", "--seed", "5")
    assert run("train", drawn, *options).exit_code == 0
    again = ("evaluate", out, drawn, "--split", "held out", "--threads", "1", "--out", tmp_path / "figures")
    done = run(*again)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "figures" / "evaluation.json").read_text())["retrieval"]
    bundled = read_bundle(out).manifest.evaluation
    assert bundled is not None
    for direction, figures in bundled["retrieval"].items():
        assert found[direction]["rank_1"] == pytest.approx(figures["rank_1"], abs=1e-4)
        assert found[direction]["queries"] == figures["queries"]

    other = draw_dataset(tmp_path / drawn.name, identities=15, views=2).parent
    assert "what was held out cannot be told" in run(*again[:2], other, *again[3:]).output
    assert "and this one was not" in run("evaluate", "vehicle", drawn, *again[3:]).output


def test_the_config_of_a_network_is_read_from_its_file(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    network = ("--network", "transformers", "--network-config", tmp_path / "config.json")
    result = run("train", drawn, "--out", tmp_path / "b", *SMALL, *network)
    assert result.exit_code == 1
    assert "it has 'bert'" in result.output


def test_ctrl_c_before_a_step_is_done_says_how_to_go_on(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(images: Tensor, rng: np.random.Generator) -> Tensor:
        raise KeyboardInterrupt

    def told(images: Tensor, rng: np.random.Generator) -> Tensor:
        signal.raise_signal(signal.SIGTERM)
        return images

    monkeypatch.setitem(AUGMENTATIONS, "camera", told)
    result = run("train", drawn, "--out", tmp_path / "a", *SMALL)
    assert result.exit_code == 143
    assert "with the same command and --resume" in result.output
    monkeypatch.setitem(AUGMENTATIONS, "camera", ended)
    result = run("train", drawn, "--out", tmp_path / "new" / "b", *SMALL)
    assert result.exit_code == 130
    assert "Interrupted. The same command with --resume goes on." in result.output


@pytest.mark.parametrize(
    "options",
    [
        ("--resume", "--fresh"),
        ("--steps", "5", "--minutes", "1"),
        ("--hold-out", "0.5", "--val-split", "val"),
    ],
)
def test_options_of_which_one_can_hold_exclude_each_other(
    drawn: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    result = run("train", drawn, "--out", tmp_path / "b", *options)
    assert result.exit_code == 2
    assert "exclude each other" in result.output


@pytest.mark.parametrize("name", ["my bundle", "b\u00fccher", "b" * 65])
def test_a_folder_that_gives_no_name_asks_for_one(drawn: Path, tmp_path: Path, name: str) -> None:
    result = run("train", drawn, "--out", tmp_path / name)
    assert result.exit_code == 2
    assert "Give it a name with --name." in result.output
    out = tmp_path / name
    named = run("train", drawn, "--out", out, "--name", "mine", *SMALL, "--steps", "1", "--val-split", "")
    assert named.exit_code == 0, named.output
    assert read_bundle(out).manifest.name == "mine"


def test_names_are_what_a_manifest_takes() -> None:
    for name in ("a", "A.b_c-9", "x" * 64, "", "-a", ".a", "x" * 65, "a b", "\u00fc", "a/b", "a\n"):
        fits = TypeAdapter(Name)
        try:
            fits.validate_python(name)
        except ValidationError:
            assert not NAME.fullmatch(name)
        else:
            assert NAME.fullmatch(name)


@pytest.mark.system
def test_processes_that_torchrun_starts_train_one_bundle(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "service.cli", "train", str(drawn), "--out", str(out), *SMALL, "--steps", "2"]
    done = subprocess.run(
        torchrun + command,
        cwd=Path(__file__).parents[3],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Host it with") == 1
    training = read_bundle(out).manifest.training
    assert training is not None
    assert training["outcome"]["steps"] == 2
