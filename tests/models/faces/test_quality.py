"""Quality: the measures against plain loops, and the limits that they are held to."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.drawing import draw_vehicle
from models.faces import LIMITS, Quality, measure, shortfall

GOOD = Quality(size=80, sharpness=120.5, brightness=100.0, score=0.9)


@pytest.mark.parametrize("depth", [1, 3])
def test_sharpness_and_brightness_are_those_of_a_loop(depth: int) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (9, 7, depth)).astype(np.uint8)
    grey = crop[..., 0] if depth == 1 else np.asarray(Image.fromarray(crop).convert("L"))
    values = [
        float(grey[y - 1, x]) + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1] - 4.0 * grey[y, x]
        for y in range(1, 8)
        for x in range(1, 6)
    ]
    quality = measure(crop, 33, 0.5)
    assert quality.sharpness == pytest.approx(np.var(values), rel=1e-4)
    assert quality.brightness == pytest.approx(np.mean([float(value) for value in grey.ravel()]), rel=1e-5)
    assert (quality.size, quality.score) == (33, 0.5)


def test_blur_lowers_sharpness_and_light_raises_brightness() -> None:
    sharp = draw_vehicle(1, 0, size=(112, 112))
    blurred, light = (
        sharp.filter(ImageFilter.GaussianBlur(3)),
        sharp.point(lambda value: min(255, value + 40)),
    )
    of_sharp, of_blurred, of_light = (measure(np.asarray(one), 112) for one in (sharp, blurred, light))
    assert of_blurred.sharpness < of_sharp.sharpness / 5
    assert of_light.brightness > of_sharp.brightness + 20


def test_a_picture_too_small_for_the_laplacian_is_not_sharp() -> None:
    assert measure(np.zeros((2, 2, 1), np.uint8), 2).sharpness == 0


@pytest.mark.parametrize(
    ("name", "limit", "figure"),
    [
        ("min_size", 81, "80"),
        ("min_sharpness", 121, "120.5"),
        ("min_brightness", 100.5, "100"),
        ("max_brightness", 99.5, "100"),
        ("min_score", 0.91, "0.9"),
    ],
)
def test_what_misses_a_limit_is_told_with_figure_and_limit(name: str, limit: float, figure: str) -> None:
    sentence = shortfall(GOOD, {name: limit})
    assert sentence is not None
    assert f"is {figure} " in sentence
    assert f"{limit:g} is wanted ({name})" in sentence


def test_a_limit_that_is_just_met_is_met() -> None:
    met = {name: getattr(GOOD, limit.measure) for name, limit in LIMITS.items()}
    assert shortfall(GOOD, met) is None
    assert shortfall(Quality(80, 120.5, 100.0), {"min_score": 0.99}) is None
