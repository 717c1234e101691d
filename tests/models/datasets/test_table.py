"""images.csv is checked line by line when it is read."""

from pathlib import Path

import pytest

from models.datasets import ImageSet, read_csv, read_dataset
from models.drawing import draw_dataset
from models.errors import DatasetError
from tests.data import real_data
from tests.models.datasets.fakes import bom_crlf, picture

HEADER = "path,identity,camera,split\n"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=5, views=2).parent


def table(folder: Path, rows: str, header: str = HEADER) -> Path:
    """Write a table whose pictures a.png and b.png are there."""
    for name in ("a.png", "b.png"):
        picture(folder / name)
    (folder / "images.csv").write_text(header + rows)
    return folder


def test_a_csv_is_read_and_counted(drawn: Path) -> None:
    images = read_csv(drawn, "train")
    assert (len(images), len(images.identities), images.cameras) == (8, 4, ("1", "2"))
    assert str(images) == f"{drawn.name}/train: 8 images of 4 identities, 2 cameras"
    assert images.samples[1].path == drawn / "vehicle_0001_view2.jpg"
    assert images.labels().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert images.form == "csv"


def test_a_name_is_no_path(drawn: Path) -> None:
    assert read_csv(drawn, "val").name == drawn.name


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,x,1,train\n", r"no split 'val'; it has 'train' \(1\)"),
        ("a.png,x,1,\n", r"no split 'val'; it has '' \(1\)"),
        ("a.png,x,1\n", r"line 2 ends before its column split\. A value that is not known is empty"),
        ("a.png,x,1,val\nb.png,y\n", "line 3 ends before its column camera, split"),
        ("a.png,x,1,val,5\n", r"line 2 has more values than there are columns\. A value with a comma"),
        ("", "no split 'val'; it has none"),
        ("a.png,x,1,val\nc.png,x,2,val\n", r"1 of 2 pictures .* not there, first .*c\.png"),
        ("a.png,,1,val\n", "line 2 has no identity"),
        (",x,1,val\n", "line 2 has no path"),
        ("../a.png,x,1,val\n", "not inside the folder"),
        ("/a.png,x,1,val\n", "not inside the folder"),
        ("a.png,x,1,val\na.png,y,1,val\n", r"1 picture\(s\) more than once, first .*a\.png"),
        ("a.png,x,1,val\n./a.png,y,1,val\n", r"1 picture\(s\) more than once, first .*a\.png"),
        ("a.png,x,1,val\nb.png,x,2,train\n", "1 identities in more than one split, first x"),
        ("a.png,x,1,test\nb.png,x,2,train\n", "1 identities in more than one split, first x"),
    ],
)
def test_a_bad_table_says_what_is_wrong(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_csv(table(tmp_path, rows), "val")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,identity\n", "no column camera, split; it needs .*, and has 'path', 'identity'.$"),
        (
            "path;identity;camera;split\n",
            "and has 'path;identity;camera;split'. Part its columns by",
        ),
        ("path,identity,camera,split,split\n", "has the column split twice"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_csv(table(tmp_path, "a.png,x\n", header=header), "val")


def test_blanks_and_capitals_make_no_other_identity_split_or_column(tmp_path: Path) -> None:
    plain = read_csv(table(tmp_path, "a.png,x,1,val\nb.png,x,2,val\n"), "val")
    loose = table(tmp_path, "a.png, x,1 ,val ,\n b.png ,x , 2,val\n", "Path, IDENTITY,camera ,Split\n")
    assert read_csv(loose, "val") == plain


def test_a_short_row_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 2 ends before its column identity, camera, split"):
        read_csv(table(tmp_path, "a.png\n"), "val")


def test_one_unknown_camera_makes_cameras_unknown(tmp_path: Path) -> None:
    images = read_csv(table(tmp_path, "a.png,x,1,val\nb.png,x,,val\n"), "val")
    assert images.cameras == ()
    assert images.camera_labels() is None


def test_nobody_may_be_in_every_split(tmp_path: Path) -> None:
    images = read_csv(table(tmp_path, "a.png,-1,1,val\nb.png,-1,2,train\n"), "val")
    assert images.labels().tolist() == [-1]


def test_a_table_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    table(tmp_path, "a.png,x,1,val\nb.png,y,2,val\n")
    plain = read_csv(tmp_path, "val")
    bom_crlf(tmp_path / "images.csv")
    assert read_csv(tmp_path, "val") == plain


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    table(tmp_path, "")
    (tmp_path / "images.csv").write_bytes(b"\xff\xfe" + HEADER.encode("utf-16-le"))
    with pytest.raises(DatasetError, match=r"images\.csv cannot be read"):
        read_csv(tmp_path, "val")


def test_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"There is no images\.csv in"):
        read_csv(tmp_path, "val")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "split", "images", "identities", "cameras"),
    [
        ("vehicles", "train", 810, 405, 2),
        ("vehicles", "val", 204, 102, 2),
        ("market1501", "train", 7519, 400, 6),
        ("market1501", "val", 1654, 100, 6),
    ],
)
def test_the_real_tables_are_complete(
    name: str, split: str, images: int, identities: int, cameras: int
) -> None:
    found: ImageSet = read_dataset(real_data(name), split)
    assert (len(found), len(found.identities), len(found.cameras)) == (images, identities, cameras)
