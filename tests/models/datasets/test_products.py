"""Stanford Online Products is read by its two lists."""

from pathlib import Path

import pytest

from models.datasets import read_dataset, read_products
from models.errors import DatasetError
from tests.models.datasets.fakes import bom_crlf, products

HEADER = "image_id class_id super_class_id path\n"


def test_both_lists_are_splits(tmp_path: Path) -> None:
    train, test = (read_dataset(products(tmp_path), split) for split in ("train", "test"))
    assert (len(train), train.identities, train.form) == (3, ("1", "2"), "sop")
    assert (len(test), test.identities) == (2, ("11319",))
    assert train.samples[2].path == tmp_path / "chair_final" / "12_0.JPG"


def test_a_list_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    plain = read_products(products(tmp_path), "train")
    bom_crlf(tmp_path / "Ebay_train.txt")
    assert read_products(tmp_path, "train") == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 1 bicycle_final/11_0.JPG\n", r"Ebay_train\.txt starts with '1 1 1 bicycle"),
        (HEADER, "lists no picture"),
        ("", "is empty; Stanford Online Products needs it"),
        (f"{HEADER}1 1 bicycle_final/11_0.JPG\n", "line 2 is '1 1 bicycle"),
        (f"{HEADER}1 1 1 bicycle_final/x.JPG\n", "1 of 1 pictures .* not there"),
        (f"{HEADER}1 1 1 /bicycle_final/x.JPG\n", "line 2 names .* not inside"),
        (
            f"{HEADER}1 1 1 chair_final/12_0.JPG\n2 1 1 chair_final/12_0.JPG\n",
            r"1 picture\(s\) more than once",
        ),
        (f"{HEADER}1 11319 1 chair_final/12_0.JPG\n", "1 identities in more than one split, first 11319"),
    ],
)
def test_a_bad_list_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (products(tmp_path) / "Ebay_train.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_products(tmp_path, "train")


def test_one_list_is_enough_for_its_split(tmp_path: Path) -> None:
    (products(tmp_path) / "Ebay_test.txt").unlink()
    assert len(read_products(tmp_path, "train")) == 3
    with pytest.raises(DatasetError, match=r"There is no Ebay_test\.txt"):
        read_products(tmp_path, "test")
    with pytest.raises(DatasetError, match="no split 'val'; ask for train or test"):
        read_products(tmp_path, "val")
