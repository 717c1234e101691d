"""`lookalike draw` and `encoder` do what they say, or refuse it with a sentence before they do any of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from click.testing import Result

from models import importing
from models.bundle import add_measurements, read_bundle
from models.runtime import load_encoder
from service.cli import encoders as commands
from service.cli.cards import card, show_card
from tests.models.bundles import REPORTS, contents, make_calibration
from tests.models.encoders import MEAN, PICTURES, STD, network, save
from tests.models.importing.published import osnet_shapes, random_weights
from tests.models.onnx_graphs import save_graph
from tests.service.cli.commands import answer, refusal, run

EVALUATION: dict[str, Any] = {
    "dataset": "drawn",
    "images": 8,
    "retrieval": {"1 -> 2": {"rank_1": 0.5, "queries": 4}, "2 -> 1": {"rank_1": 0.75, "skipped": 1}},
    "few_shot": {},
    "verification": {"auc": 0.9, "tar_at_far": {"0.1": 0.25}},
    "cosine_same": None,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "b"
    save(folder, "pytorch")
    add_measurements(folder, evaluation=EVALUATION, calibration=make_calibration(), reports=REPORTS)
    return folder


@pytest.mark.parametrize(
    ("given", "shown", "left"),
    [
        ({"hold_out": 0.2, "minutes": None}, {"hold_out", "steps"}, {"val_split", "minutes"}),
        ({"hold_out": None, "minutes": 3.0}, {"val_split", "minutes"}, {"hold_out", "steps"}),
    ],
)
def test_of_two_options_that_exclude_each_other_the_one_that_held_is_shown(
    capsys: pytest.CaptureFixture[str], bundle: Path, given: dict[str, Any], shown: set[str], left: set[str]
) -> None:
    facts = card(read_bundle(bundle))
    config = {"val_split": "val", "steps": 1000, **given}
    show_card({**facts, "training": {"dataset": "drawn", "config": config}})
    names = {line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines()}
    assert shown <= names
    assert not left & names


def test_draw_writes_pictures_and_their_table(tmp_path: Path) -> None:
    result = run("draw", "--out", tmp_path / "out", "--identities", "2", "--views", "3")
    assert result.exit_code == 0
    assert "Drew 6 pictures of 2 vehicles" in result.output
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 6


@pytest.mark.parametrize(
    ("option", "value"), [("seed", -1), ("seed", 2**63), ("views", 0), ("identities", 0)]
)
def test_draw_refuses_numbers_before_it_makes_the_folder(tmp_path: Path, option: str, value: int) -> None:
    result = run("draw", "--out", tmp_path / "out", f"--{option}", str(value))
    assert result.exit_code == 2
    assert f"--{option}" in result.output
    assert not (tmp_path / "out").exists()


def test_draw_refuses_a_file_for_its_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    result = run("draw", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "is a file" in result.output


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("draw", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert f"{tmp_path / 'file' / 'out'}" in result.output


@pytest.fixture(scope="module")
def exported(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """What an export said, and the folder in which it wrote `x` and `x.onnx`."""
    folder = tmp_path_factory.mktemp("exported")
    result = run("encoder", "export", bundle, "--out", folder / "x", "--onnx", folder / "x.onnx")
    return result, folder


def test_export_writes_a_bundle_and_a_bare_graph_of_the_same_embeddings(
    bundle: Path, exported: tuple[Result, Path]
) -> None:
    result, folder = exported
    assert result.exit_code == 0, result.output
    assert "the largest relative difference is" in result.output
    expected = load_encoder(bundle, device="cpu").encode(PICTURES)
    got = load_encoder(folder / "x").encode(PICTURES)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert read_bundle(folder / "x").manifest.calibration == make_calibration()
    session = ort.InferenceSession(folder / "x.onnx", providers=["CPUExecutionProvider"])
    x = ((PICTURES - np.array(MEAN)) / np.array(STD)).astype(np.float32).transpose(0, 3, 1, 2)
    (bare,) = session.run(None, {"pictures": x})
    bare /= np.linalg.norm(bare, axis=1, keepdims=True)
    np.testing.assert_allclose(bare, expected, rtol=1e-4, atol=1e-5)


def test_export_refuses_what_it_would_lose_before_it_begins(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "notes.txt").touch()
    (tmp_path / "graph.onnx").touch()
    before = contents(tmp_path)
    assert "exists and is no bundle" in refusal("encoder", "export", bundle, "--out", tmp_path / "precious")
    assert "holds a bundle" in refusal("encoder", "export", bundle, "--out", bundle)
    assert "is there already" in refusal("encoder", "export", bundle, "--onnx", tmp_path / "graph.onnx")
    assert contents(tmp_path) == before


def test_export_and_import_replace_where_that_is_asked_for(
    bundle: Path, exported: tuple[Result, Path], tmp_path: Path
) -> None:
    shutil.copytree(exported[1], tmp_path, dirs_exist_ok=True)
    out, graph = tmp_path / "x", tmp_path / "x.onnx"
    result = run("encoder", "export", bundle, "--out", out, "--onnx", graph, "--replace")
    assert result.exit_code == 0, result.output
    again = ("encoder", "import", graph, "--out", out, "--mean", "1", "--std", "2", "--channels", "rgb")
    assert "holds a bundle" in refusal(*again, "--no-normalize")
    replaced = run(*again, "--no-normalize", "--replace")
    assert replaced.exit_code == 0, replaced.output
    assert read_bundle(out).manifest.input.mean == (1.0, 1.0, 1.0)


def test_import_takes_a_graph_by_its_preset_and_a_state_dict_by_its_names(tmp_path: Path) -> None:
    graph = save_graph(tmp_path / "face.onnx", size=("h", "w"))
    result = run("encoder", "import", graph, "--preset", "arcface", "--out", tmp_path / "face")
    assert result.exit_code == 0, result.output
    assert "mean 127.5,127.5,127.5 and std 128,128,128" in result.output
    torch.save(random_weights(osnet_shapes((16, 64, 96, 128))), tmp_path / "osnet.pth")
    size = ("--size", "64x32", "--licence", "MIT")
    result = run("encoder", "import", tmp_path / "osnet.pth", "--out", tmp_path / "person", *size)
    assert result.exit_code == 0, result.output
    assert "It is OSNet x0.25 with torchreid's names" in result.output
    assert "lookalike serve --encoder" in result.output
    assert read_bundle(tmp_path / "person").manifest.licence == "MIT"


def test_the_choices_of_import_are_the_importers() -> None:
    assert tuple(importing.PRESETS) == commands.PRESETS
    assert commands.TAKES == importing.TAKES


def test_export_asks_where_to(bundle: Path) -> None:
    result = run("encoder", "export", bundle)
    assert result.exit_code == 2
    assert "--out FOLDER" in result.output
    assert "--onnx FILE" in result.output


@pytest.mark.parametrize("command", ["export", "show"])
def test_what_is_no_bundle_is_refused(tmp_path: Path, command: str) -> None:
    options = ["--out", str(tmp_path / "x")] if command == "export" else []
    assert "is no shipped encoder and no folder" in refusal("encoder", command, tmp_path / "none", *options)


def test_show_prints_all_of_the_manifest_as_json(bundle: Path) -> None:
    shown = answer("encoder", "show", bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {name: shown[name] for name in manifest} == manifest
    assert shown["parameters"] == sum(parameter.numel() for parameter in network().parameters())
    assert shown["weights_bytes"] == (bundle / "weights.safetensors").stat().st_size
    assert shown["reports"] == sorted(REPORTS)
    assert shown["fingerprint"] == read_bundle(bundle).manifest.fingerprint


def test_show_prints_figures_and_thresholds_in_tables(bundle: Path) -> None:
    result = run("encoder", "show", bundle)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["name", "network"] in lines
    assert ["input", "8", "x", "10,", "rgb,", "bilinear"] in lines
    assert ["fingerprint", read_bundle(bundle).manifest.fingerprint] in lines
    assert ["rank_1", "queries", "skipped"] in lines
    assert ["1", "->", "2", "0.5", "4", "-"] in lines
    assert ["2", "->", "1", "0.75", "-", "1"] in lines
    assert ["evaluation:", "verification:", "tar_at_far"] in lines
    assert ["0.1", "0.25"] in lines
    assert "few_shot" not in result.stdout
    assert ["impostor", "pairs", "10"] in lines
    # Of the impostor distances 0.1, 0.2 ... 1, two are below 0.3 and one below 0.2; so are 3 and 2 of the
    # genuine 0.05, 0.15 and 0.25. Whose they are is unknown, so there are no intervals.
    assert ["0.2", "0.3", "-", "0.2", "1.0000", "-"] in lines
    assert ["0.1", "0.2", "-", "0.1", "0.6667", "-"] in lines


def test_show_leaves_out_what_is_not_stated(tmp_path: Path) -> None:
    save(tmp_path / "g", "onnxruntime")
    result = run("encoder", "show", tmp_path / "g")
    assert result.exit_code == 0
    assert "ONNX Runtime" in result.stdout
    for absent in ("parameters", "calibration", "evaluation", "training", "derived from", "None"):
        assert absent not in result.stdout
