"""What a view fixes around a vehicle: the place, and how the camera exposes the picture."""

import numpy as np
from PIL import Image, ImageFilter

from models.drawing.pen import Pen, shade

__all__ = ["draw_place", "expose"]


def draw_place(pen: Pen, rng: np.random.Generator) -> None:
    """Draw the sky, something at the horizon, the kerb and the road."""
    draw, width, height = pen.draw, pen.width, pen.height
    horizon = pen.ground - height * rng.uniform(0.2, 0.34)
    sky = ((176, 212, 240), (222, 226, 228), (250, 218, 180), (150, 176, 206))[rng.integers(4)]
    draw.rectangle([0, 0, width, height], fill=sky)
    base = ((120, 158, 104), (164, 150, 128), (132, 140, 156), (188, 170, 140))[rng.integers(4)]
    place = rng.integers(4)
    for _ in range(rng.integers(4, 9)):
        x, w, h = (
            rng.uniform(-0.1, 1.1) * width,
            rng.uniform(0.06, 0.2) * width,
            rng.uniform(0.08, 0.4) * height,
        )
        tone = shade(base, rng.uniform(0.8, 1.2))
        if place == 0:  # houses
            draw.rectangle([x, horizon - h, x + w, horizon], fill=tone)
            for row in range(int(h // 30)):
                for column in range(int(w // 26)):
                    left, top = x + 8 + 26 * column, horizon - h + 8 + 30 * row
                    draw.rectangle([left, top, left + 10, top + 14], fill=shade(tone, 1.4))
        elif place == 1:  # trees
            draw.rectangle([x - 4, horizon - h, x + 4, horizon], fill=(104, 80, 60))
            draw.ellipse([x - w / 2, horizon - 1.3 * h, x + w / 2, horizon - 0.3 * h], fill=tone)
        elif place == 2:  # hills
            draw.ellipse([x - 2 * w, horizon - 0.6 * h, x + 2 * w, horizon + h], fill=tone)
    draw.rectangle([0, horizon, width, height], fill=base)
    road = rng.integers(88, 150)
    asphalt = (int(road), int(road + rng.integers(-3, 4)), int(road + rng.integers(0, 8)))
    kerb = horizon + (pen.ground - horizon) * rng.uniform(0.1, 0.45)
    draw.rectangle([0, kerb, width, height], fill=asphalt)
    draw.rectangle([0, kerb - 5, width, kerb + 3], fill=shade(asphalt, 1.5))
    start = rng.uniform(-0.3, 0)
    for dash in range(6):
        left = (start + 0.26 * dash) * width
        draw.polygon(
            [
                (left, height - 14),
                (left + 0.14 * width, height - 14),
                (left + 0.13 * width, height - 6),
                (left - 6, height - 6),
            ],
            fill=shade(asphalt, 1.6),
        )


def expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture as a camera gives it: light from one side, colour cast, gamma, blur and noise."""
    gamma = rng.uniform(0.8, 1.3)
    gain = rng.uniform(0.75, 1.15) * rng.uniform(0.94, 1.06, 3)
    blur = float(rng.choice((0.0, 0.0, 0.6, 1.0)))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)) if blur else image, dtype=np.float64)
    height, width, _ = pixels.shape
    slope = rng.uniform(-0.15, 0.15, 2)
    across, down = np.linspace(-1, 1, width)[None, :, None], np.linspace(-1, 1, height)[:, None, None]
    lit = 255 * (pixels / 255) ** gamma * gain * (1 + slope[0] * across + slope[1] * down)
    noisy = lit + rng.uniform(1, 6) * rng.standard_normal(pixels.shape)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
