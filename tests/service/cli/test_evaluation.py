"""`lookalike evaluate` prints figures, writes both files, and refuses what it cannot do with a sentence."""

import json
import os
import sys
from pathlib import Path
from unittest import mock

import pytest

from models.bundle import find_bundle, read_bundle
from models.datasets import READERS
from models.drawing import draw_dataset
from models.evaluation import PROTOCOLS
from service.cli import evaluation
from tests.data import real_data
from tests.models.datasets.fakes import folders
from tests.models.evaluation.small import random_encoder
from tests.service.cli.commands import refusal, run

FAST = ("--split", "train", "--draws", "200", "--threads", "1")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "mine"
    random_encoder(folder)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=10, views=2).parent


def test_the_choices_are_those_of_the_library() -> None:
    assert set(evaluation.FORMS) == set(READERS)
    assert evaluation.PROTOCOLS == PROTOCOLS


def test_figures_are_printed_and_both_files_stand_beside_the_bundle(bundle: Path, drawn: Path) -> None:
    before = read_bundle(bundle)
    result = run("evaluate", bundle, drawn, *FAST, "--baseline", "--rerank")
    assert result.exit_code == 0, result.output
    folder = bundle.parent / "mine.evaluation"
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation.json", "report.html"]
    facts = json.loads((folder / "evaluation.json").read_text())
    assert facts["data"]["images"] == 16
    assert f"{facts['retrieval']['1 -> 2']['rank_1']:.3f}" in result.stdout
    for words in ("retrieval, 2 -> 1", "mAP", "TAR@FAR 0.1", "random weights", "re-ranking, 1 -> 2"):
        assert words in result.stdout
    assert "Note: There are 8 identities" in result.stderr
    assert f"Wrote the report to {folder / 'report.html'}." in result.stderr
    assert "<img" in (folder / "report.html").read_text()
    assert read_bundle(bundle).manifest == before.manifest


def test_every_picture_that_cannot_be_used_is_named(bundle: Path, tmp_path: Path) -> None:
    folder = draw_dataset(tmp_path / "drawn", identities=10, views=2).parent
    pictures = sorted(folder.glob("*.jpg"))
    for number in (0, 3):
        pictures[number].write_text("no picture")
    sentence = run("evaluate", bundle, folder, "--out", tmp_path / "figures", *FAST).stderr
    assert "2 of 16 pictures of drawn/train cannot be used" in sentence
    assert all(pictures[number].name in sentence for number in (0, 3))


def test_the_files_go_where_they_are_told_to(bundle: Path, drawn: Path, tmp_path: Path) -> None:
    figures, page = tmp_path / "new" / "a.json", tmp_path / "b.html"
    result = run("evaluate", bundle, drawn, *FAST, "--json", figures, "--html", page, "--no-pictures")
    assert result.exit_code == 0, result.output
    assert json.loads(figures.read_text())["data"]["split"] == "train"
    assert "<img" not in page.read_text()
    out = tmp_path / "out"
    assert run("evaluate", bundle, drawn, *FAST, "--out", out).exit_code == 0
    assert (out / "evaluation.json").read_bytes() == figures.read_bytes()
    again = run("evaluate", bundle, drawn, *FAST, "--out", out)
    assert f"Wrote the figures to {out / 'evaluation.json'}, in place of an earlier file." in again.stderr


def test_a_protocol_whose_own_figures_are_missing_is_no_success(
    bundle: Path, drawn: Path, tmp_path: Path
) -> None:
    result = run("evaluate", bundle, drawn, *FAST, "--out", tmp_path, "--protocol", "lfw")
    assert result.exit_code == 1
    assert "this set has none that could be measured" in result.stderr
    assert (tmp_path / "evaluation.json").is_file()


def test_a_terminal_gets_the_same_figures(bundle: Path, drawn: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", bundle, drawn, *FAST, "--out", tmp_path / "out")
    plain = run(*arguments).stdout.split()
    with mock.patch("service.cli.evaluation.sys.stdout.isatty", return_value=True, create=True):
        table = run(*arguments).stdout
    assert sorted(table.split()) == sorted(plain)


def test_a_shipped_encoder_is_measured_beside_the_reader(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("evaluate", "vehicle", drawn, *FAST)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "vehicle.evaluation" / "report.html").is_file()


def test_nothing_is_written_among_the_pictures(bundle: Path, drawn: Path) -> None:
    words = refusal("evaluate", bundle, drawn, *FAST, "--out", drawn / "results")
    assert "would lie in the dataset's own folder" in words
    assert not (drawn / "results").exists()


def test_the_files_of_a_bundle_stay_as_they_are(bundle: Path, drawn: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    assert "holds a bundle" in refusal("evaluate", bundle, drawn, *FAST, "--out", bundle)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_figures_and_report_do_not_share_a_file(bundle: Path, drawn: Path, tmp_path: Path) -> None:
    same = tmp_path / "x"
    result = run("evaluate", bundle, drawn, *FAST, "--json", same, "--html", tmp_path / "." / "x")
    assert result.exit_code == 2
    assert "Give each its own file" in result.output
    assert not same.exists()


def test_the_folder_of_a_file_of_pairs_is_the_datasets(bundle: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("1\n")
    assert "would lie in the dataset's own folder" in refusal("evaluate", bundle, pairs, "--json", pairs)
    assert pairs.read_text() == "1\n"


def test_without_matplotlib_there_are_figures_and_a_hint(
    bundle: Path, drawn: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("of other figures")
    with mock.patch.dict(sys.modules, {"matplotlib": None}):
        result = run("evaluate", bundle, drawn, *FAST, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "pip install '.[plot]'" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]
    assert "rank-1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing", "{drawn}"), "'nothing' is no shipped encoder and no folder"),
        (("{bundle}", "{drawn}/absent"), "There is no "),
        (("{bundle}", "{drawn}", "--split", "test"), "no split 'test'"),
        (("{bundle}", "{drawn}", "--form", "market1501"), "no split 'val'"),
    ],
)
def test_what_is_not_there_is_said(
    bundle: Path, drawn: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    filled = [part.format(drawn=drawn, bundle=bundle) for part in arguments]
    assert words in refusal("evaluate", *filled, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "protocol", "words"),
    [
        ([("a", "1"), ("b", "1")], "vehicleid", "No identity of table/val has a second picture"),
        (
            [("a", "1"), ("a", "1")],
            "re-identification",
            "--protocol metric-learning does not look at cameras",
        ),
        ([("-1", ""), ("-1", "")], "omniglot", "All pictures of table/val are of nobody (-1)"),
    ],
)
def test_a_set_in_which_nothing_can_be_found_is_refused_with_what_to_do(
    bundle: Path, tmp_path: Path, rows: list[tuple[str, str]], protocol: str, words: str
) -> None:
    lines = [f"{number}.png,{identity},{camera},val" for number, (identity, camera) in enumerate(rows)]
    folder = folders(tmp_path / "table", *(f"{number}.png" for number in range(len(rows))))
    (folder / "images.csv").write_text("\n".join(["path,identity,camera,split", *lines]))
    result = run("evaluate", bundle, folder, "--protocol", protocol, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    said, error = result.stderr.splitlines()
    assert said.startswith(f"table/val: {len(rows)} images")
    assert error.startswith("Error: ")
    assert words in error


@pytest.mark.parametrize(
    "option", [("--draws", "199"), ("--protocol", "cmc"), ("--seed", "-1"), ("--form", "zip")]
)
def test_options_out_of_range_are_refused(bundle: Path, drawn: Path, option: tuple[str, str]) -> None:
    result = run("evaluate", bundle, drawn, *option)
    assert result.exit_code == 2
    assert option[0] in result.output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(bundle: Path, drawn: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert str(tmp_path) in refusal("evaluate", bundle, drawn, *FAST, "--out", tmp_path / "out")


def test_a_file_in_the_way_is_named(bundle: Path, drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "a.json"
    assert str(tmp_path / "file") in refusal("evaluate", bundle, drawn, *FAST, "--json", place)


@pytest.mark.data
def test_the_shipped_encoder_has_the_rank_1_of_its_manifest(tmp_path: Path) -> None:
    result = run("evaluate", "vehicle", real_data("vehicles"), "--out", tmp_path / "out", "--draws", "200")
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    stated = read_bundle(find_bundle("vehicle")).manifest.evaluation
    assert stated is not None
    for direction, figures in stated["retrieval"].items():
        got = facts["retrieval"][direction]
        assert got["rank_1"] == pytest.approx(figures["rank_1"], abs=0.02)
        assert got["queries"] == figures["queries"]
        assert got["rank_1_interval"][0] <= figures["rank_1"] <= got["rank_1_interval"][1]
