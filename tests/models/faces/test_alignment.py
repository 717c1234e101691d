"""Alignment: the similarity is the least squares', and a face comes to lie on the template."""

import numpy as np
import pytest
from PIL import Image

from models.drawing import draw_vehicle
from models.faces.alignment import TEMPLATE, align, similarity


def turning(
    degrees: float, scale: float, shift: tuple[float, float]
) -> np.ndarray[tuple[int, int], np.dtype]:
    angle = np.deg2rad(degrees)
    turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turned, shift])


@pytest.mark.parametrize("seed", range(5))
def test_the_similarity_is_that_of_a_general_least_squares_solver(seed: int) -> None:
    random = np.random.default_rng(seed)
    points, targets = random.normal(0, 40, (2, 5, 2)).astype(np.float32)
    rows, values = [], []
    for (x, y), (u, v) in zip(points.tolist(), targets.tolist(), strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]  # of a, b, and the shift
        values += [u, v]
    (a, b, dx, dy), *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    np.testing.assert_allclose(similarity(points, targets), [[a, -b, dx], [b, a, dy]], atol=1e-6)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (30, 0.5), (-120, 3), (180, 1)])
def test_a_known_similarity_is_found_again(degrees: float, scale: float) -> None:
    known = turning(degrees, scale, (12, -7))
    moved = TEMPLATE @ known[:, :2].T + known[:, 2]
    np.testing.assert_allclose(similarity(TEMPLATE, moved.astype(np.float32)), known, atol=1e-4)


def test_mirrored_points_are_turned_and_never_mirrored() -> None:
    mirrored = TEMPLATE * np.array([-1, 1], np.float32)
    assert np.linalg.det(similarity(mirrored, TEMPLATE)[:, :2]) > 0


def smooth(side: int) -> Image.Image:
    """Draw something without fine detail, so that interpolating hardly changes it."""
    return draw_vehicle(3, 0, size=(28, 28)).resize((side, side), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [(0, 1, (40, 30)), (0, 2, (10, 20)), (25, 1.5, (150, 60)), (-60, 2.5, (40, 300)), (0, 6, (30, 30))],
)
def test_a_face_placed_anywhere_comes_back_as_it_was(
    degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    face = smooth(112)
    placed = turning(degrees, scale, shift)
    whole = np.vstack([placed, [0, 0, 1]])
    canvas = face.transform(
        (800, 800),
        Image.Transform.AFFINE,
        np.linalg.inv(whole)[:2].ravel().tolist(),
        Image.Resampling.BICUBIC,
    )
    landmarks = (TEMPLATE @ placed[:, :2].T + placed[:, 2]).astype(np.float32)
    got = align(np.asarray(canvas), landmarks, 112).astype(np.float32)
    inner = np.s_[6:-6, 6:-6]
    assert np.abs(got[inner] - np.asarray(face, dtype=np.float32)[inner]).mean() < 3


def test_another_size_of_input_scales_the_template() -> None:
    face = smooth(112)
    got = align(np.asarray(face), TEMPLATE, 56).astype(np.float32)
    half = np.asarray(face.resize((56, 56), Image.Resampling.BOX), dtype=np.float32)
    assert np.abs(got - half)[3:-3, 3:-3].mean() < 3


def test_a_large_face_is_averaged_and_not_picked_from() -> None:
    checks = (np.indices((896, 896)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    got = align(checks, TEMPLATE * 8, 112)
    assert np.abs(got[4:-4, 4:-4].astype(float) - 127.5).max() < 10


def test_what_is_outside_the_picture_is_black() -> None:
    white = np.full((60, 60, 3), 255, np.uint8)
    got = align(white, TEMPLATE - np.array([56, 0], np.float32), 112)
    assert got[5:50, 60:108].min() == 255  # the picture's left, moved by 56
    assert got[:, :50].max() == got[65:].max() == 0
    assert align(white, TEMPLATE + 5000, 112).max() == 0
