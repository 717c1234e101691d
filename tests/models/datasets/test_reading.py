"""A dataset's form is told by what lies in its folder, in a fixed order."""

from pathlib import Path

import pytest

from models.datasets import READERS, detect_form, read_dataset
from models.errors import DatasetError, OptionError
from tests.data import real_data
from tests.models.datasets.fakes import folders, market, products, vehicleid, veri


def test_every_form_is_told(tmp_path: Path) -> None:
    signs = {
        "csv": "images.csv",
        "market1501": "bounding_box_test/0001_c1s1_001051_00.jpg",
        "veri776": "image_query/0002_c002_00030600_0.jpg",
        "vehicleid": "train_test_split/train_list.txt",
        "sop": "Ebay_test.txt",
        "lfw": "pairsDevTest.txt",
        "omniglot": "images_background_small1.zip",
        "folders": "train/x/1.png",
    }
    assert signs.keys() == READERS.keys()
    for form, name in signs.items():
        path = tmp_path / form / name
        path.parent.mkdir(parents=True)
        path.touch()
        assert detect_form(tmp_path / form) == form


def test_the_order_is_that_of_the_readers(tmp_path: Path) -> None:
    for write in (products, vehicleid, veri, market):  # from the last of the order to the first
        write(tmp_path)
    assert detect_form(tmp_path) == "market1501"
    (tmp_path / "images.csv").touch()
    assert detect_form(tmp_path) == "csv"


def test_a_form_can_be_asked_for(tmp_path: Path) -> None:
    market(tmp_path)
    folders(tmp_path, "train/x/1.png")
    assert read_dataset(tmp_path, "train").form == "market1501"
    assert read_dataset(tmp_path, "train", form="folders").form == "folders"


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="form is 'coco'; it must be auto or one of csv, market1501"):
        read_dataset(tmp_path, "train", form="coco")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"There is no folder .*nowhere"):
        read_dataset(tmp_path / "nowhere", "train")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "form"),
    [("vehicles", "csv"), ("market1501", "csv"), ("lfw", "lfw"), ("omniglot", "omniglot")],
)
def test_the_real_folders_are_told(name: str, form: str) -> None:
    assert detect_form(real_data(name)) == form
