"""LFW's people are those of its lists, picture by picture."""

from pathlib import Path

import pytest

from models.datasets import read_dataset, read_lfw
from models.errors import DatasetError
from tests.data import real_data
from tests.models.datasets.fakes import bom_crlf, folders, lfw


@pytest.mark.parametrize("within", ["lfw", "images", "lfw-deepfunneled", "lfw_funneled", "."])
def test_people_are_read_by_their_lists(tmp_path: Path, within: str) -> None:
    images = read_dataset(lfw(tmp_path, within=within), "train")
    assert [(s.identity, s.path.name) for s in images.samples] == [
        ("Ann_A", "Ann_A_0001.jpg"),
        ("Ann_A", "Ann_A_0002.jpg"),
        ("Bob", "Bob_0001.jpg"),
    ]
    assert (images.form, images.cameras) == ("lfw", ())
    assert read_lfw(tmp_path, "test").identities == ("Cy_Y",)


def test_all_people_need_no_list(tmp_path: Path) -> None:
    lfw(tmp_path)
    for name in ("peopleDevTrain.txt", "peopleDevTest.txt"):
        (tmp_path / name).unlink()
    assert len(read_lfw(tmp_path, "all")) == 5
    with pytest.raises(DatasetError, match=r'no peopleDevTrain\.txt in .* "all" takes every picture'):
        read_lfw(tmp_path, "train")


def test_a_list_counts_fewer_pictures_than_there_are(tmp_path: Path) -> None:
    (lfw(tmp_path) / "peopleDevTrain.txt").write_text("1\nAnn_A\t1\n")
    assert len(read_lfw(tmp_path, "train")) == 1


def test_a_list_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    plain = read_lfw(lfw(tmp_path), "train")
    bom_crlf(tmp_path / "peopleDevTrain.txt")
    assert read_lfw(tmp_path, "train") == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3\nAnn_A\t2\nBob\t1\n", "says '3' people and lists 2. It may be cut off"),
        ("Ann_A\t2\nBob\t1\n", "says 'Ann_A"),
        ("2\nAnn_A\t2\nBob\n", "line 3 is 'Bob'"),
        ("2\nAnn_A\t2\nBob\t0\n", "line 3 is"),
        ("2\nBob\t1\nBob\t1\n", "lists 1 people more than once, first Bob"),
        ("1\nCy_Y\t1\n", "1 identities in more than one split, first Cy_Y"),
        (
            "2\nAnn_A\t4\nBob\t1\n",
            r"2 of 5 pictures .* first Ann_A/Ann_A_0003\.jpg, Ann_A/Ann_A_0004\.jpg\. ",
        ),
        ("1\nDee\t1\n", r"1 of 1 pictures of peopleDevTrain\.txt are not there, first Dee/Dee_0001"),
        ("1\n../lfw/Bob\t1\n", "not inside the folder"),
        ("\n", "is empty"),
    ],
)
def test_a_bad_list_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (lfw(tmp_path) / "peopleDevTrain.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_lfw(tmp_path, "train")


def test_a_picture_of_another_name_is_refused(tmp_path: Path) -> None:
    folders(lfw(tmp_path), "lfw/Bob/Ann_A_0007.jpg")
    with pytest.raises(
        DatasetError, match=r"Bob holds .*Ann_A_0007\.jpg; pictures are looked for as Bob/Bob_00"
    ):
        read_lfw(tmp_path, "all")


def test_one_name_with_two_suffixes_is_refused(tmp_path: Path) -> None:
    picture = lfw(tmp_path) / "lfw" / "Bob" / "Bob_0001.jpg"
    picture.with_suffix(".png").write_bytes(picture.read_bytes())
    with pytest.raises(DatasetError, match=r"Bob has pictures that differ in their suffix alone"):
        read_lfw(tmp_path, "train")


def test_a_person_without_a_picture_is_refused(tmp_path: Path) -> None:
    (lfw(tmp_path) / "lfw" / "Dee").mkdir()
    with pytest.raises(DatasetError, match="Dee holds no picture"):
        read_lfw(tmp_path, "all")


def test_no_people_at_all_is_said(tmp_path: Path) -> None:
    (tmp_path / "lfw").mkdir()
    with pytest.raises(DatasetError, match="lfw holds no folder of a person"):
        read_lfw(tmp_path, "all")


def test_another_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'val'; ask for train or test or all"):
        read_lfw(lfw(tmp_path), "val")


@pytest.mark.data
def test_the_real_people_are_complete() -> None:
    images = read_dataset(real_data("lfw"), "train")
    assert (len(images), len(images.identities)) == (9525, 4038)
    assert len(read_lfw(real_data("lfw"), "all")) == 9525


@pytest.mark.data
def test_people_right_in_the_folder_are_read() -> None:
    images = read_dataset(real_data("faces_in_photos"), "all", form="lfw")
    assert (len(images), len(images.identities)) == (532, 130)
