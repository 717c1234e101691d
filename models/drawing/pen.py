"""A pen that draws in metres: x along the road, y above it, seen by one camera."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["BLACK", "Colour", "Pen", "Points", "rounded", "shade"]

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

SUPERSAMPLING = 3
BLACK: Colour = (28, 29, 34)
TYRE: Colour = (36, 36, 40)


class Pen:
    """Draws polygons in metres as a camera sees them, three times too large.

    Args:
        size: (width, height) of the picture in pixels.
        subject: (length, height, breadth) in metres of what is drawn; it stands in the middle.
        rng: draws the camera: yaw, zoom, and where the subject stands.
    """

    def __init__(
        self, size: tuple[int, int], subject: tuple[float, float, float], rng: np.random.Generator
    ) -> None:
        self.width, self.height = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw = ImageDraw.Draw(self.image)
        length, height, breadth = subject
        self.half = length / 2
        yaw = rng.uniform(-0.5, 0.5)
        self.zoom = rng.uniform(0.74, 0.9) * min(self.width / (1.12 * length), self.height / (1.45 * height))
        self.squeeze = math.cos(yaw)
        self.perspective = 0.16 * math.sin(yaw)
        self.centre = self.width * (0.5 + rng.uniform(-0.05, 0.05))
        self.ground = self.height * rng.uniform(0.82, 0.9)
        # The far side, as seen from here: along the road and up, in pixels.
        self.far = (self.zoom * breadth * math.sin(yaw) * 0.8, -self.zoom * breadth * rng.uniform(0.1, 0.2))

    def project(self, x: float, y: float, depth: float = 0.0) -> tuple[float, float]:
        """Return pixels of a point; depth 0 is the near side and 1 the far one."""
        near = 1 + self.perspective * x / self.half
        across = self.centre + self.zoom * self.squeeze * x * (1 + 0.5 * self.perspective * x / self.half)
        return (
            across - self.far[0] / 2 + depth * self.far[0],
            self.ground - self.zoom * y * near + depth * self.far[1],
        )

    def polygon(self, points: Points, fill: Colour, depth: float = 0.0) -> None:
        """Fill a polygon on the near side, or at some depth."""
        self.draw.polygon([self.project(x, y, depth) for x, y in points], fill=fill)

    def box(self, left: float, bottom: float, right: float, top: float, fill: Colour) -> None:
        """Fill an upright rectangle with slightly rounded corners."""
        self.polygon(rounded([(left, bottom), (left, top), (right, top), (right, bottom)], 0.12), fill)

    def disc(self, x: float, y: float, radius: float, fill: Colour, depth: float = 0.0) -> None:
        """Fill a circle."""
        turns = [2 * math.pi * step / 40 for step in range(40)]
        self.polygon([(x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns], fill, depth)

    def line(self, points: Points, width: float, fill: Colour) -> None:
        """Draw a line of a width in metres, with round joints."""
        pixels = [self.project(x, y) for x, y in points]
        self.draw.line(pixels, fill=fill, width=max(1, round(width * self.zoom)), joint="curve")

    def solid(self, points: Points, fill: Colour, end: Colour | None = None) -> None:
        """Fill a polygon and the side faces between it and the far side; `end` paints the steep ones."""
        for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
            steep = abs(by - ay) > 0.5 * abs(bx - ax)
            face = (end or shade(fill, 0.72)) if steep else shade(fill, 1.25 if by > 0.6 else 0.5)
            corners = [(ax, ay, 0), (bx, by, 0), (bx, by, 1), (ax, ay, 1)]
            self.draw.polygon([self.project(x, y, depth) for x, y, depth in corners], fill=face)
        self.polygon(points, fill)

    def wheel(self, x: float, radius: float, hub: Colour, depth: float = 0.0) -> None:
        """Draw a wheel that stands on the road."""
        self.disc(x, radius, radius, TYRE, depth)
        if depth == 0:
            self.disc(x, radius, 0.62 * radius, hub)
            self.disc(x, radius, 0.46 * radius, shade(hub, 0.78))
            self.disc(x, radius, 0.18 * radius, hub)

    def finish(self, size: tuple[int, int]) -> Image.Image:
        """Return the picture at its own size."""
        return self.image.resize(size, Image.Resampling.BOX)

    def shadow(self) -> None:
        """Darken the road below the vehicle."""
        mask = Image.new("L", self.image.size)
        left, near = self.project(-self.half * 1.04, -0.08)
        right, far = self.project(self.half * 1.04, 0.06, 1)
        reach = abs(self.far[0]) / 2
        ImageDraw.Draw(mask).ellipse([left - reach, min(far, near - 8), right + reach, near + 6], fill=130)
        mask = mask.filter(ImageFilter.GaussianBlur(4))
        self.image.paste(BLACK, mask=mask)


def rounded(points: Points, share: float = 0.2) -> list[tuple[float, float]]:
    """Cut every corner twice, so that a polygon looks pressed from sheet metal (Chaikin's algorithm)."""
    corners = list(points)
    for cut in (share, 0.25):
        after = [*corners[1:], corners[0]]
        pairs = zip(corners, after, strict=True)
        corners = [
            (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for a, b in pairs for t in (cut, 1 - cut)
        ]
    return corners


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour darker (factor < 1) or nearer to white (factor > 1)."""
    if factor <= 1:
        red, green, blue = (round(c * factor) for c in colour)
    else:
        red, green, blue = (round(255 - (255 - c) * (2 - factor)) for c in colour)
    return red, green, blue
