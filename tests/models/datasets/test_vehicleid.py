"""VehicleID is read by its lists; the protocol draws the gallery."""

from pathlib import Path

import pytest

from models.datasets import read_dataset, read_vehicleid
from models.errors import DatasetError
from tests.models.datasets.fakes import bom_crlf, vehicleid


def test_every_list_is_a_split(tmp_path: Path) -> None:
    vehicleid(tmp_path)
    counts = {}
    for split in ("train", "test_800", "test_1600"):
        images = read_dataset(tmp_path, split)
        counts[split] = (len(images), len(images.identities), images.has_roles, images.form)
    assert counts == {
        "train": (3, 2, False, "vehicleid"),
        "test_800": (2, 1, False, "vehicleid"),
        "test_1600": (4, 2, False, "vehicleid"),
    }
    first = read_vehicleid(tmp_path, "train").samples[0]
    assert (first.path, first.identity) == (tmp_path / "image" / "0000001.jpg", "11")


def test_a_list_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    plain = read_vehicleid(vehicleid(tmp_path), "train")
    bom_crlf(tmp_path / "train_test_split" / "train_list.txt")
    assert read_vehicleid(tmp_path, "train") == plain


def test_names_may_have_their_suffix(tmp_path: Path) -> None:
    (vehicleid(tmp_path) / "train_test_split" / "train_list.txt").write_text("0000001.jpg 11\n")
    assert read_vehicleid(tmp_path, "train").samples[0].path.is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0000001\n", "line 1 is '0000001'; it must be \"name vehicleID\""),
        ("0000001 11 3\n", "line 1 is"),
        ("0000001 11\n\n0000002 11\n", "line 2 is ''"),
        ("0000001 11\n0000001 12\n", r"1 picture\(s\) more than once, first 0000001\.jpg"),
        ("0000001 11\n0000001.jpg 11\n", r"1 picture\(s\) more than once"),
        ("0000001 13\n", "1 identities in more than one split, first 13"),
        ("0000091 11\n0000092 11\n", "2 of 2 pictures .* not there, first .*0000091"),
        ("../0000001 11\n", "not inside the folder"),
        (" \n", "is empty; VehicleID needs it"),
    ],
)
def test_a_bad_list_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (vehicleid(tmp_path) / "train_test_split" / "train_list.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_vehicleid(tmp_path, "train")


def test_the_test_lists_may_nest_but_not_touch_the_train_list(tmp_path: Path) -> None:
    (vehicleid(tmp_path) / "train_test_split" / "test_list_800.txt").write_text("0000004 12\n")
    with pytest.raises(DatasetError, match="1 identities in more than one split, first 12"):
        read_vehicleid(tmp_path, "test_800")


def test_splits_are_named_where_there_is_no_such_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'test'; ask for train or test_800 or test_1600"):
        read_vehicleid(vehicleid(tmp_path), "test")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    (vehicleid(tmp_path) / "train_test_split" / "train_list.txt").unlink()
    assert len(read_vehicleid(tmp_path, "test_800")) == 2
    with pytest.raises(DatasetError, match=r"There is no train_list\.txt in .* VehicleID needs it"):
        read_vehicleid(tmp_path, "train")
