"""`lookalike draw` and `train` refuse what they cannot do with a sentence, before they do any of it."""

from pathlib import Path

import pytest

from models.drawing import draw_dataset
from tests.service.cli.commands import run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=5, views=2).parent


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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, "0") for name in ("dimension", "steps", "threads")),
        *((name, "1") for name in ("identities", "images")),
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
        ("my bundle", [], "Error: name 'my bundle': "),
        ("b", ["--margin", "-1"], "Error: margin must be a finite number greater than 0, not -1.0."),
        ("b", ["--size", "9000x96"], "Error: height 9000: "),
        ("b", ["--val-split", "test"], "no split 'test'"),
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
    assert not (tmp_path / name).exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("draw", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert f"{tmp_path / 'file' / 'out'}" in result.output
