"""LFW's files of pairs: ten folds or one block, first the pairs of one person and then those of two."""

from pathlib import Path

import numpy as np
import pytest

from models.datasets import read_pairs
from models.errors import DatasetError
from tests.data import real_data
from tests.models.datasets.fakes import bom_crlf, folders

FOLDS, SIZE = 10, 3


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Three people with four pictures each."""
    return folders(tmp_path, *(f"lfw/{p}/{p}_{n:04d}.jpg" for p in ("Al", "Bo_B", "Cy") for n in range(1, 5)))


def ten_folds() -> list[str]:
    """Lines in the form of pairs.txt, drawn at random, their first line left out."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(FOLDS):
        for _ in range(SIZE):
            one, two = rng.permutation(4)[:2] + 1
            lines.append(f"{rng.choice(['Al', 'Bo_B', 'Cy'])}\t{one}\t{two}")
        for _ in range(SIZE):
            left, right = rng.permutation(["Al", "Bo_B", "Cy"])[:2]
            lines.append(f"{left}\t{rng.integers(1, 5)}\t{right}\t{rng.integers(1, 5)}")
    return lines


def write(path: Path, first: str, lines: list[str]) -> Path:
    path.write_text("\n".join([first, *lines]) + "\n")
    return path


def test_ten_folds_are_read_in_order(faces: Path) -> None:
    lines = ten_folds()
    write(faces / "pairs.txt", f"{FOLDS}\t{SIZE}", lines)
    pairs = read_pairs(faces)
    assert pairs.folds.tolist() == [fold for fold in range(FOLDS) for _ in range(2 * SIZE)]
    assert pairs.same.tolist() == ([True] * SIZE + [False] * SIZE) * FOLDS
    for line, left, right in zip(lines, pairs.left, pairs.right, strict=True):
        words = line.split("\t")
        person, other = (words[0], words[0]) if len(words) == 3 else (words[0], words[2])
        assert pairs.images.samples[left].path.name == f"{person}_{int(words[1]):04d}.jpg"
        assert pairs.images.samples[right].path.name == f"{other}_{int(words[-1]):04d}.jpg"
    labels = pairs.images.labels()
    np.testing.assert_array_equal(labels[pairs.left] == labels[pairs.right], pairs.same)


def test_one_block_is_one_fold(faces: Path) -> None:
    file = write(faces / "pairsDevTest.txt", "2", ["Al 1 2", "Cy 1 4", "Al 1 Cy 2", "Bo_B 3 Al 1"])
    pairs = read_pairs(file)
    assert pairs.folds.tolist() == [0, 0, 0, 0]
    assert pairs.same.tolist() == [True, True, False, False]
    assert str(pairs).endswith("/pairsDevTest: 4 pairs (2 of one person) of 6 images in 1 fold")
    assert (pairs.images.form, len(set(pairs.images.samples))) == ("lfw", 6)


def test_a_file_as_windows_writes_it_is_read(faces: Path) -> None:
    file = write(faces / "pairs.txt", f"{FOLDS}\t{SIZE}", ten_folds())
    plain = read_pairs(file)
    bom_crlf(file)
    again = read_pairs(file)
    assert again.images == plain.images
    np.testing.assert_array_equal(again.left, plain.left)


@pytest.mark.parametrize(
    ("first", "lines", "message"),
    [
        ("2", ["Al 1 2", "Cy 1 4", "Al 1 Cy 2"], "says 1 x 2 x 2 = 4 pairs and lists 3. It may be cut off"),
        ("10\t300", ["Al 1 2", "Al 1 Cy 2"], "says 10 x 2 x 300 = 6,000 pairs and lists 2"),
        ("1 1", ["Al 1 2", "Al 1 Cy 2", "Al 1 3"], "says 1 x 2 x 1 = 2 pairs and lists 3"),
        ("0", [], "says 1 x 2 x 0 = 0 pairs"),
        ("Al 1 2", ["Al 1 Cy 2"], "starts with 'Al 1 2'"),
        ("-1", ["Al 1 2", "Al 1 Cy 2"], "starts with '-1'"),
        ("1", ["Al 1 Cy 2", "Al 1 2"], 'line 2 is .*"name number number", of two different pictures'),
        ("1", ["Al 1 2", "Al 1 2"], 'line 3 is .*"name number name number", of two different people'),
        ("1", ["Al 2 2", "Al 1 Cy 2"], "line 2 is 'Al 2 2'"),
        ("1", ["Al 1 2", "Al 1 Al 2"], "line 3 is 'Al 1 Al 2'"),
        ("1", ["Al 1 x", "Al 1 Cy 2"], "line 2 is"),
        ("1", ["", "Al 1 Cy 2"], "line 2 is ''"),
        (
            "1",
            ["Al 1 7", "Al 1 Dee 2"],
            r"2 of 3 pictures of pairs\.txt .* first Al/Al_0007\.jpg, Dee/Dee_0002",
        ),
    ],
)
def test_a_bad_file_says_what_is_wrong(faces: Path, first: str, lines: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_pairs(write(faces / "pairs.txt", first, lines))


def test_a_folder_without_pairs_names_those_that_it_has(faces: Path) -> None:
    with pytest.raises(DatasetError, match=r"no pairs\.txt in .* it has no file of pairs"):
        read_pairs(faces)
    write(faces / "pairsDevTrain.txt", "1", ["Al 1 2", "Al 1 Cy 2"])
    with pytest.raises(DatasetError, match=r"it has pairsDevTrain\.txt\. Give the path of one"):
        read_pairs(faces)


def test_a_file_that_is_not_there_is_said(faces: Path) -> None:
    with pytest.raises(DatasetError, match=r"There is no pairsDevTest\.txt"):
        read_pairs(faces / "pairsDevTest.txt")


@pytest.mark.data
def test_the_real_pairs_are_complete() -> None:
    pairs = read_pairs(real_data("lfw") / "pairsDevTrain.txt")
    assert (len(pairs), int(pairs.same.sum()), set(pairs.folds.tolist())) == (2200, 1100, {0})
    labels = pairs.images.labels()
    np.testing.assert_array_equal(labels[pairs.left] == labels[pairs.right], pairs.same)
