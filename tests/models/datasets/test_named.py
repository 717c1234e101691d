"""Market-1501 and VeRi-776: identity and camera stand in the file name, queries and gallery in folders."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.datasets import ImageSet, read_dataset, read_market1501, read_veri776
from models.errors import DatasetError
from models.metrics import retrieval
from tests.data import real_data
from tests.models.datasets.fakes import bom_crlf, folders, market, picture, veri


def described(images: ImageSet) -> list[tuple[str, str, str, str]]:
    return [(s.path.name, s.identity, s.camera, s.role) for s in images.samples]


def test_market_training_pictures_have_no_roles(tmp_path: Path) -> None:
    images = read_dataset(market(tmp_path), "train")
    assert described(images) == [
        ("0002_c1s1_000451_03.jpg", "0002", "1", ""),
        ("0002_c2s1_000301_01.jpg", "0002", "2", ""),
        ("0007_c3s3_077419_03.jpg", "0007", "3", ""),
    ]
    assert images.form == "market1501"
    assert not images.has_roles
    assert images.queries().tolist() == images.gallery().tolist() == [0, 1, 2]


def test_market_test_is_queries_and_gallery(tmp_path: Path) -> None:
    images = read_market1501(market(tmp_path), "test")
    assert described(images)[:2] == [
        ("0001_c1s1_001051_00.jpg", "0001", "1", "query"),
        ("0003_c6s1_002301_00.jpg", "0003", "6", "query"),
    ]
    assert images.queries().tolist() == [0, 1]
    assert images.gallery().tolist() == [2, 3, 4, 5]
    assert images.identities == ("0000", "0001", "0003")
    assert str(images).endswith(
        "6 images of 3 identities, 3 cameras, 2 queries, 4 in the gallery, 1 of nobody"
    )


def test_junk_is_left_out_of_rankings_and_distractors_stay(tmp_path: Path) -> None:
    images = read_market1501(market(tmp_path), "test")
    labels, cameras = images.labels(), images.camera_labels()
    assert cameras is not None
    assert labels.tolist() == [1, 2, -1, 0, 1, 2]
    queries, gallery = images.queries(), images.gallery()
    # Query 0 is nearest to the junk, then to the distractor, then to its own picture: rank 2, not 1 or 3.
    distances = np.array([[0.0, 1.0, 2.0, 3.0], [9.0, 9.0, 9.0, 0.0]])
    result = retrieval(
        distances, (labels[queries], labels[gallery]), (cameras[queries], cameras[gallery]), ranks=(1, 2)
    )
    assert result.rank == {1: 0.5, 2: 1.0}


@pytest.mark.parametrize(
    ("extra", "split", "message"),
    [
        ("bounding_box_train/0002_f0046182.jpg", "train", r"1 of 4 file names .*_03\.jpg\), first 0002_f00"),
        ("query/-2_c1s1_000401_03.jpg", "test", "1 of 3 file names in .*query"),
        (
            "bounding_box_test/0002_c1s1_000001_03.jpg",
            "test",
            "1 identities in more than one split, first 0002",
        ),
        ("bounding_box_test/0002_c1s1_000001_03.jpg", "train", "1 identities in more than one split"),
        ("query/x.txt.png", "val", "has no split 'val'; ask for train or test"),
    ],
)
def test_a_bad_market_says_what_is_wrong(tmp_path: Path, extra: str, split: str, message: str) -> None:
    picture(market(tmp_path) / extra)
    with pytest.raises(DatasetError, match=message):
        read_market1501(tmp_path, split)


def test_files_that_are_no_pictures_are_not_looked_at(tmp_path: Path) -> None:
    (market(tmp_path) / "query" / "Thumbs.db").write_bytes(b"x")
    assert len(read_market1501(tmp_path, "test")) == 6


def test_missing_folders_are_named_all(tmp_path: Path) -> None:
    folders(tmp_path, "bounding_box_train/0002_c1s1_000451_03.jpg")
    assert len(read_market1501(tmp_path, "train")) == 1
    with pytest.raises(
        DatasetError, match=r"no folder query and no bounding_box_test .* 'test' of Market-1501"
    ):
        read_market1501(tmp_path, "test")
    (tmp_path / "query").mkdir()
    with pytest.raises(DatasetError, match="no folder bounding_box_test"):
        read_market1501(tmp_path, "test")


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    shutil.rmtree(market(tmp_path) / "query")
    (tmp_path / "query").mkdir()
    with pytest.raises(DatasetError, match="query holds no picture"):
        read_market1501(tmp_path, "test")


def test_a_veri_query_is_there_once_by_role(tmp_path: Path) -> None:
    images = read_dataset(veri(tmp_path), "test")
    assert described(images) == [
        ("0002_c002_00030600_0.jpg", "0002", "002", "query"),
        ("0002_c002_00030600_0.jpg", "0002", "002", "gallery"),
        ("0002_c003_00030670_0.jpg", "0002", "003", "gallery"),
    ]
    assert images.form == "veri776"
    assert [sample.path.parent.name for sample in images.samples] == [
        "image_query",
        "image_test",
        "image_test",
    ]


@pytest.mark.parametrize("windows", [False, True])
def test_lists_say_what_counts_and_in_which_order(
    tmp_path: Path, windows: bool, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["0001_c002_00016455_0.jpg", "0001_c001_00016450_0.jpg"]
    (veri(tmp_path) / "name_train.txt").write_text("\n".join(names) + "\n\n")
    if windows:
        bom_crlf(tmp_path / "name_train.txt")
    picture(tmp_path / "image_train" / "0005_c001_00016450_0.jpg")
    with caplog.at_level(logging.WARNING):
        assert [name for name, *_ in described(read_veri776(tmp_path, "train"))] == names
    assert "name_train.txt does not list 1 of the pictures in image_train; they are left out" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0001_c009_00000000_0.jpg\n", "1 of 1 pictures of the split 'train' are not there"),
        ("0001_c001_00016450_0.jpg\n" * 2, r"1 picture\(s\) more than once"),
        ("../image_test/0002_c003_00030670_0.jpg\n", "line 1 names .* not inside"),
        ("", r"name_train\.txt is empty"),
        ("0001_c001_00016450_0.jpg\n\nx\n", "file names in .* not of VeRi-776's form"),
    ],
)
def test_a_bad_list_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (veri(tmp_path) / "name_train.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_veri776(tmp_path, "train")


@pytest.mark.data
def test_real_file_names_of_market_are_of_its_form(tmp_path: Path) -> None:
    known = read_dataset(real_data("market1501"), "val")
    (tmp_path / "bounding_box_train").symlink_to(known.samples[0].path.parent)
    images = read_market1501(tmp_path, "train")
    assert len(images) == 7519 + 1654
    by_name = {sample.path.name: (sample.identity, sample.camera) for sample in images.samples}
    assert all(by_name[s.path.name] == (s.identity, s.camera) for s in known.samples)
