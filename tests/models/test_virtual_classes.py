import numpy as np
import pytest

from models.errors import OptionError, ShapeError
from models.virtual_classes import FurtherClasses, expand, expand_labels


def pictures(count: int = 6, height: int = 5, width: int = 5) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("kind", "symmetries"), [("none", 1), ("rotations", 4), ("symmetries", 8)])
def test_each_class_becomes_one_for_each_symmetry(kind: FurtherClasses, symmetries: int) -> None:
    pixels, labels = pictures(), np.array([0, 0, 1, 1, 4, 4])

    more, numbers = expand(pixels, labels, kind)

    assert more.shape == (6 * symmetries, 5, 5, 3)
    assert len(np.unique(numbers)) == 3 * symmetries
    assert np.array_equal(more[:6], pixels)
    assert np.array_equal(numbers[:6], labels)
    assert len({picture.tobytes() for picture in more}) == 6 * symmetries


def test_symmetries_turn_and_mirror_pixel_by_pixel() -> None:
    picture = np.array([[1, 2], [3, 4]], dtype=np.uint8)[None, :, :, None]

    more, _ = expand(picture, np.array([0]), "symmetries")

    seen = {tuple(one.ravel().tolist()) for one in more}
    by_hand = {(1, 2, 3, 4), (2, 4, 1, 3), (4, 3, 2, 1), (3, 1, 4, 2)}
    mirrored = {(2, 1, 4, 3), (1, 3, 2, 4), (3, 4, 1, 2), (4, 2, 3, 1)}
    assert seen == by_hand | mirrored


def test_pictures_that_cannot_be_turned_and_unknown_kinds_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"square pictures .* 4 x 5"):
        expand(pictures(height=4), np.zeros(6, dtype=np.int64), "rotations")
    with pytest.raises(OptionError, match="known are none, rotations, symmetries"):
        expand(pictures(), np.zeros(6, dtype=np.int64), "shears")  # type: ignore[arg-type]  # on purpose


def test_what_was_given_is_not_changed() -> None:
    pixels, labels = pictures(), np.arange(6)
    before = pixels.copy()

    expand(pixels, labels, "symmetries")

    assert np.array_equal(pixels, before)
    assert np.array_equal(labels, np.arange(6))


def test_groups_of_classes_are_expanded_like_the_classes() -> None:
    labels, groups = np.array([0, 0, 1, 2, 2, 2]), np.array([7, 7, 7, 3, 3, 3])

    _, classes = expand(pictures(), labels, "rotations")
    expanded = expand_labels(groups, "rotations")

    for symmetry in range(4):
        own = slice(6 * symmetry, 6 * symmetry + 6)
        assert (expanded[own] - groups == symmetry * 8).all()
    assert len(set(zip(classes.tolist(), expanded.tolist(), strict=True))) == 12
