"""Folders of folders are read in a fixed order, and what is missing is named."""

from pathlib import Path

import pytest

from models.datasets import read_dataset, read_folders
from models.errors import DatasetError
from tests.models.datasets.fakes import folders


def test_folders_of_folders_are_read_in_order(tmp_path: Path) -> None:
    root = folders(tmp_path, "train/y/2.jpg", "train/y/1.JPG", "train/x/1.png")
    (root / "train" / "x" / "notes.txt").write_text("no picture")
    images = read_dataset(root, "train")
    assert [(sample.identity, sample.path.name) for sample in images.samples] == [
        ("x", "1.png"),
        ("y", "1.JPG"),
        ("y", "2.jpg"),
    ]
    assert images.cameras == ()
    assert images.form == "folders"


def test_what_programs_hide_beside_pictures_is_left_out(tmp_path: Path) -> None:
    root = folders(tmp_path, "train/x/1.png", "train/x/._1.png", "train/.thumbnails/1.png")
    assert [sample.path.name for sample in read_folders(root, "train").samples] == ["1.png"]


def test_folders_say_what_is_missing(tmp_path: Path) -> None:
    root = folders(tmp_path, "train/x/1.png")
    with pytest.raises(DatasetError, match=r"no folder 'val' .* it has train\. Pictures are looked for as"):
        read_folders(root, "val")
    (root / "train" / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"1 folder\(s\) of identities hold no picture, first .*empty"):
        read_folders(root, "train")
    (root / "val").mkdir()
    with pytest.raises(DatasetError, match="holds no folder of an identity"):
        read_folders(root, "val")


def test_no_split_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="it has no folder at all"):
        read_folders(tmp_path, "train")


def test_an_empty_split_is_not_the_folder_itself(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no folder ''"):
        read_folders(folders(tmp_path, "x/1.png"), "")


def test_an_identity_to_train_and_to_measure_with_is_refused(tmp_path: Path) -> None:
    root = folders(tmp_path, "train/x/1.png", "val/x/2.png", "val/y/1.png", "val/-1/1.png", "train/-1/1.png")
    for split in ("train", "val"):
        with pytest.raises(DatasetError, match="1 identities in more than one split, first x"):
            read_folders(root, split)
