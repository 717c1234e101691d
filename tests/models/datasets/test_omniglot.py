"""Omniglot's background sets are one; a character found in two of them is one."""

import zipfile
from pathlib import Path

import pytest

from models.datasets import read_dataset, read_omniglot
from models.errors import DatasetError
from tests.data import real_data
from tests.models.datasets.fakes import folders


def omniglot(root: Path) -> Path:
    """Two background sets that share the character Greek/character01, and an evaluation set."""
    return folders(
        root,
        "images_background_small1/Greek/character01/0394_01.png",
        "images_background_small1/Greek/character01/0394_02.png",
        "images_background_small1/Latin/character01/0683_01.png",
        "images_background_small2/Greek/character01/0394_02.png",
        "images_background_small2/Greek/character01/0394_03.png",
        "images_background_small2/Greek/character02/0395_01.png",
        "images_evaluation/Tengwar/character01/1575_01.png",
    )


def test_a_character_in_two_sets_is_one(tmp_path: Path) -> None:
    images = read_dataset(omniglot(tmp_path), "train")
    assert [(s.identity, s.path.parts[-4], s.path.name) for s in images.samples] == [
        ("Greek/character01", "images_background_small1", "0394_01.png"),
        ("Greek/character01", "images_background_small1", "0394_02.png"),
        ("Greek/character01", "images_background_small2", "0394_03.png"),
        ("Greek/character02", "images_background_small2", "0395_01.png"),
        ("Latin/character01", "images_background_small1", "0683_01.png"),
    ]
    assert [sample.group for sample in images.samples] == [*["Greek"] * 4, "Latin"]
    assert images.form == "omniglot"


def test_the_evaluation_set_is_the_test_split(tmp_path: Path) -> None:
    assert read_omniglot(omniglot(tmp_path), "test").identities == ("Tengwar/character01",)


def test_alphabets_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    folders(tmp_path, "Greek/character01/0394_01.png", "Latin/character01/0683_01.png")
    images = read_dataset(tmp_path, "all")
    assert (images.identities, images.form) == (("Greek/character01", "Latin/character01"), "omniglot")
    with pytest.raises(DatasetError, match="no split 'train'; ask for all"):
        read_omniglot(tmp_path, "train")


def test_a_character_to_train_and_to_test_with_is_refused(tmp_path: Path) -> None:
    folders(omniglot(tmp_path), "images_evaluation/Latin/character01/0683_01.png")
    for split in ("train", "test"):
        with pytest.raises(
            DatasetError, match="1 identities in more than one split, first Latin/character01"
        ):
            read_omniglot(tmp_path, split)


def test_archives_are_to_be_unzipped(tmp_path: Path) -> None:
    for name in ("images_background_small2.zip", "images_background_small1.zip"):
        (tmp_path / name).touch()
    message = (
        r"2 zip archive\(s\) .* first images_background_small1\.zip, images_background_small2\.zip\. "
        r"Unzip each, for example: python -m zipfile -e images_background_small1\.zip \."
    )
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path, "train")
    with pytest.raises(DatasetError, match=r"no folder images_evaluation\* in .* the split 'test'"):
        read_omniglot(tmp_path, "test")


@pytest.mark.parametrize("name", ["Greek", "Greek/character03"])
def test_empty_folders_are_named(tmp_path: Path, name: str) -> None:
    (omniglot(tmp_path) / "images_background_small1" / name.replace("Greek", "Empty")).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"1 folder\(s\) hold no character, first .*Empty"):
        read_omniglot(tmp_path, "train")


def test_a_set_without_alphabets_is_said(tmp_path: Path) -> None:
    (tmp_path / "images_evaluation").mkdir()
    with pytest.raises(DatasetError, match="it has none"):
        read_omniglot(tmp_path, "test")


@pytest.mark.data
def test_the_real_background_sets_are_one(tmp_path: Path) -> None:
    archives = sorted(real_data("omniglot").glob("*.zip"))
    for archive in archives:
        with zipfile.ZipFile(archive) as file:
            file.extractall(tmp_path)
    images = read_dataset(tmp_path, "train")
    assert (len(images), len(images.identities)) == (242 * 20, 242)
    assert {sample.group for sample in images.samples} == {
        path.name for root in tmp_path.iterdir() for path in root.iterdir()
    }
