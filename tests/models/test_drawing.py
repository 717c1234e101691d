"""Drawn vehicles: equal numbers give equal pictures, identities differ, and the table says what is there."""

import csv
from pathlib import Path

import numpy as np
import pytest

from models.drawing import draw_dataset, draw_vehicle
from models.drawing.vehicles import make_vehicle
from models.errors import InputError


def test_equal_numbers_give_equal_pictures() -> None:
    assert draw_vehicle(7, 3).tobytes() == draw_vehicle(7, 3).tobytes()


@pytest.mark.parametrize("other", [(8, 3), (7, 4)])
def test_another_identity_or_view_gives_another_picture(other: tuple[int, int]) -> None:
    assert draw_vehicle(7, 3).tobytes() != draw_vehicle(*other).tobytes()


@pytest.mark.parametrize(
    ("identity", "view", "mean"), [(0, 0, (185.9, 155.9, 170.6)), (12, 1, (158.9, 120.1, 113.0))]
)
def test_the_pictures_are_those_of_every_other_machine(
    identity: int, view: int, mean: tuple[float, float, float]
) -> None:
    # Means, and not a hash: another Pillow may place the edge of a polygon half a pixel away.
    got = np.asarray(draw_vehicle(identity, view)).mean(axis=(0, 1))
    np.testing.assert_allclose(got, mean, atol=1.5)


def test_the_size_is_width_by_height() -> None:
    picture = draw_vehicle(1, 0, size=(64, 40))
    assert (picture.mode, picture.size) == ("RGB", (64, 40))


def test_every_kind_is_drawn() -> None:
    kinds = {make_vehicle(np.random.Generator(np.random.PCG64([0, identity]))).kind for identity in range(40)}
    assert kinds == {"car", "van", "truck", "bus", "motorcycle"}


def test_one_vehicle_looks_more_like_itself_than_like_others() -> None:
    # In the middle of the picture, where the vehicle is, by colour alone and on average.
    colours = np.array(
        [
            [np.asarray(draw_vehicle(identity, view))[50:90, 40:120].mean(axis=(0, 1)) for view in range(2)]
            for identity in range(30)
        ]
    )  # (30, 2, 3)
    distances = np.linalg.norm(colours[:, None, 0] - colours[None, :, 1], axis=2)
    same = np.eye(30, dtype=bool)
    assert distances[same].mean() < 0.7 * distances[~same].mean()


def test_a_dataset_has_a_row_for_every_picture(tmp_path: Path) -> None:
    table = draw_dataset(tmp_path / "drawn", identities=5, views=2, seed=3)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "identity", "camera", "split"]
    assert rows[1] == {
        "path": "vehicle_0001_view2.jpg",
        "identity": "vehicle_0001",
        "camera": "2",
        "split": "train",
    }
    assert [row["split"] for row in rows] == 8 * ["train"] + 2 * ["val"]
    assert {row["path"] for row in rows} == {path.name for path in table.parent.glob("*.jpg")}


def test_another_seed_draws_other_vehicles(tmp_path: Path) -> None:
    first, second = (draw_dataset(tmp_path / str(seed), identities=1, views=1, seed=seed) for seed in (0, 1))
    name = "vehicle_0001_view1.jpg"
    assert (first.parent / name).read_bytes() != (second.parent / name).read_bytes()


def test_nothing_is_drawn_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        draw_dataset(tmp_path, identities=1, views=1)
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]
    assert (tmp_path / "images.csv").read_text() == "mine"
