"""What vehicles of every kind wear: lamps, glass, stripes and badges."""

from models.drawing.pen import Colour, Pen, Points
from models.drawing.vehicles import Vehicle

__all__ = ["BRAKE", "GLASS", "LAMP", "STEEL", "draw_badge", "draw_stripe"]

LAMP: Colour = (255, 240, 176)
BRAKE: Colour = (214, 40, 44)
GLASS: Colour = (120, 158, 182)
STEEL: Colour = (150, 154, 162)


def draw_stripe(pen: Pen, v: Vehicle, points: Points, *, width: float, colour: Colour | None = None) -> None:
    """Draw one stripe along the points, or a second above it, or none."""
    for n in range(v.stripe if v.stripe < 3 else 0):
        pen.line([(x, y + 1.4 * width * n) for x, y in points], width / v.stripe, colour or v.second)


def draw_badge(pen: Pen, v: Vehicle, centre: tuple[float, float], radius: float) -> None:
    """Draw the sign of whoever owns the vehicle, if it carries one."""
    x, y = centre
    ink = v.clothes
    match v.badge:
        case 1:
            pen.disc(x, y, radius, (244, 244, 240))
            pen.disc(x, y, 0.62 * radius, ink)
        case 2:
            pen.polygon([(x - radius, y - radius), (x, y + radius), (x + radius, y - radius)], ink)
        case 3:
            pen.box(x - radius, y - 0.3 * radius, x + radius, y + 0.3 * radius, ink)
            pen.box(x - 0.3 * radius, y - radius, x + 0.3 * radius, y + radius, ink)
        case 4:
            for shift in (-1.1, 0.0, 1.1):
                pen.disc(x + shift * radius, y, 0.45 * radius, ink)
