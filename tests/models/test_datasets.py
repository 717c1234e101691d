"""Datasets are checked when they are read; batches hold P identities with K pictures."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.bundle import InputSpec
from models.datasets import ImageSet, PKSampler, load_pixels, read_csv, read_dataset, read_folders
from models.drawing import draw_dataset, draw_vehicle
from models.errors import DatasetError
from models.images import decode
from tests.data import real_data

HEADER = "path,identity,camera,split\n"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=5, views=2).parent


def table(folder: Path, rows: str, header: str = HEADER) -> Path:
    """Write a table whose pictures a.png and b.png are there."""
    for name in ("a.png", "b.png"):
        draw_vehicle(0, 0, size=(8, 8)).save(folder / name)
    (folder / "images.csv").write_text(header + rows)
    return folder


def test_a_csv_is_read_and_counted(drawn: Path) -> None:
    images = read_csv(drawn, "train")
    assert (len(images), len(images.identities), images.cameras) == (8, 4, ("1", "2"))
    assert str(images) == f"{drawn.name}/train: 8 images of 4 identities, 2 cameras"
    assert images.samples[1].path == drawn / "vehicle_0001_view2.jpg"
    assert images.labels().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_name_is_no_path(drawn: Path) -> None:
    assert read_csv(drawn, "val").name == drawn.name


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,x,1,train\n", r"no split 'val'; it has train \(1\)"),
        ("", "no split 'val'; it has none"),
        ("a.png,x,1,val\nc.png,x,2,val\n", r"1 of 2 pictures .* not there, first .*c\.png"),
        ("a.png,,1,val\n", "line 2 has no identity"),
        (",x,1,val\n", "line 2 has no path"),
        ("../a.png,x,1,val\n", "not inside the folder"),
        ("/a.png,x,1,val\n", "not inside the folder"),
        ("a.png,x,1,val\na.png,y,1,val\n", r"1 picture\(s\) more than once, first .*a\.png"),
        ("a.png,x,1,val\nb.png,x,2,train\n", "1 identities in more than one split, first x"),
    ],
)
def test_a_bad_table_says_what_is_wrong(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_csv(table(tmp_path, rows), "val")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no column camera, split"):
        read_csv(table(tmp_path, "a.png,x\n", header="path,identity\n"), "val")


def test_a_short_row_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 2 has no identity"):
        read_csv(table(tmp_path, "a.png\n"), "val")


def test_one_unknown_camera_makes_cameras_unknown(tmp_path: Path) -> None:
    assert read_csv(table(tmp_path, "a.png,x,1,val\nb.png,x,,val\n"), "val").cameras == ()


def folders(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_vehicle(0, 0, size=(8, 8)).save(path)
    return root


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


def test_folders_say_what_is_missing(tmp_path: Path) -> None:
    root = folders(tmp_path, "train/x/1.png")
    with pytest.raises(DatasetError, match=r"nor a folder 'val' .* it has train"):
        read_folders(root, "val")
    (root / "train" / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"1 folder\(s\) of identities hold no picture, first .*empty"):
        read_folders(root, "train")
    (root / "val").mkdir()
    with pytest.raises(DatasetError, match="holds no folder of an identity"):
        read_folders(root, "val")


def test_pixels_are_those_that_a_request_gives(drawn: Path) -> None:
    images = read_csv(drawn, "val")
    pixels = load_pixels(images, InputSpec(height=20, width=30, mean=(0,) * 3, std=(1,) * 3))
    expected = [decode(sample.path.read_bytes(), (20, 30)) for sample in images.samples]
    assert pixels.shape == (2, 20, 30, 3)
    np.testing.assert_array_equal(pixels, np.stack(expected))


def test_grey_encoders_get_grey_pixels(drawn: Path) -> None:
    spec = InputSpec(height=20, width=30, channels="grey", mean=(0,), std=(1,))
    assert load_pixels(read_csv(drawn, "val"), spec).shape == (2, 20, 30, 1)


def test_damaged_pictures_are_counted_and_named(tmp_path: Path) -> None:
    images = read_csv(table(tmp_path, "a.png,x,1,val\nb.png,x,2,val\n"), "val")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    with pytest.raises(DatasetError, match=r"^1 of 2 pictures .* First .*b\.png: The PNG is damaged"):
        load_pixels(images, InputSpec(height=4, width=4, mean=(0,) * 3, std=(1,) * 3))


def test_a_picture_over_the_limits_is_not_called_damaged(tmp_path: Path) -> None:
    images = read_csv(table(tmp_path, "a.png,x,1,val\nb.png,x,2,val\n"), "val")
    (tmp_path / "b.png").write_bytes(bytes(21 * 2**20))
    with pytest.raises(DatasetError, match=r"First .*b\.png: The image has 22,020,096 bytes and the limit"):
        load_pixels(images, InputSpec(height=4, width=4, mean=(0,) * 3, std=(1,) * 3))


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    images = read_csv(table(tmp_path, "a.png,x,1,val\nb.png,x,2,val\n"), "val")
    (tmp_path / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"First .*a\.png: No such file or directory\.$"):
        load_pixels(images, InputSpec(height=4, width=4, mean=(0,) * 3, std=(1,) * 3))


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    table(tmp_path, "")
    (tmp_path / "images.csv").write_bytes(b"\xff\xfe" + HEADER.encode("utf-16-le"))
    with pytest.raises(DatasetError, match=r"images\.csv cannot be read"):
        read_csv(tmp_path, "val")


UNBALANCED = np.array([5, 5, 5, 5, 5, 9, 9, 2, 7, 7, 7])


def test_a_batch_has_k_pictures_of_each_of_p_identities() -> None:
    sampler = PKSampler(UNBALANCED, identities=3, images=3, seed=0)
    for step in range(20):
        labels = UNBALANCED[sampler.batch(step)].reshape(3, 3)
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0])) == 3


def test_few_pictures_repeat_only_after_all_were_drawn() -> None:
    sampler = PKSampler(UNBALANCED, identities=4, images=3, seed=0)
    for step in range(20):
        counts = Counter(sampler.batch(step).tolist())
        for label in set(UNBALANCED.tolist()):
            drawn_counts = [counts[index] for index in np.flatnonzero(np.equal(UNBALANCED, label)).tolist()]
            assert sum(drawn_counts) == 3
            assert max(drawn_counts) - min(drawn_counts) <= 1


def test_a_pass_takes_no_identity_twice() -> None:
    labels = np.repeat(np.arange(10), 2)
    sampler = PKSampler(labels, identities=3, images=2, seed=1)
    assert sampler.batches_per_pass == 3
    for first in (0, 3, 6):
        seen = [
            label for step in range(first, first + 3) for label in labels[sampler.batch(step)][::2].tolist()
        ]
        assert len(set(seen)) == 9


def test_batches_depend_on_seed_and_step_alone() -> None:
    labels = np.repeat(np.arange(10), 4)
    one, same, other = (PKSampler(labels, identities=4, images=2, seed=seed) for seed in (1, 1, 2))
    one.batch(0)
    np.testing.assert_array_equal(one.batch(5), same.batch(5))
    assert one.batch(5).tolist() != one.batch(6).tolist()
    assert one.batch(5).tolist() != other.batch(5).tolist()


def test_too_few_identities_are_refused() -> None:
    with pytest.raises(DatasetError, match="5 identities was asked for and the set has 4"):
        PKSampler(UNBALANCED, identities=5, images=2, seed=0)


@pytest.mark.data
@pytest.mark.parametrize(("split", "images", "identities"), [("train", 810, 405), ("val", 204, 102)])
def test_the_vehicles_are_complete(split: str, images: int, identities: int) -> None:
    found: ImageSet = read_dataset(real_data("vehicles"), split)
    assert (len(found), len(found.identities), found.cameras) == (images, identities, ("1", "2"))
