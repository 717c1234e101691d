"""Trucks, buses and motorcycles."""

from models.drawing.pen import BLACK, Pen, rounded, shade
from models.drawing.trim import BRAKE, GLASS, LAMP, STEEL, draw_badge, draw_stripe
from models.drawing.vehicles import Vehicle

__all__ = ["draw_bus", "draw_motorcycle", "draw_truck"]


def draw_truck(pen: Pen, v: Vehicle) -> None:
    """Draw a cab and what it carries: a box, ribs, a tank or a load of gravel."""
    half, floor = v.length / 2, 0.55
    cab = half - v.length * (0.24 + 0.06 * v.nose)
    roof = v.height * (0.8 + 0.15 * v.tail)
    wheels = (
        [-half * 0.8, half * 0.68]
        if v.windows < 6
        else [-half * 0.82, -half * 0.82 + 2.2 * v.wheel, half * 0.68]
    )
    for x in wheels:
        pen.wheel(x, v.wheel, v.hub, depth=1)
    pen.solid([(-half, floor), (-half, floor + 0.2), (half * 0.98, floor + 0.2), (half * 0.98, floor)], STEEL)
    left, right, top, bottom = -half, cab - 0.15, v.height, floor + 0.22
    if v.load == 2:
        drum = rounded([(left, bottom), (left, top * 0.92), (right, top * 0.92), (right, bottom)], 0.3)
        pen.polygon(drum, shade(v.second, 0.7), depth=0.7)
        pen.polygon(drum, v.second)
        pen.line([(left + 0.3, top * 0.72), (right - 0.3, top * 0.72)], 0.16, shade(v.second, 1.45))
    elif v.load == 3:
        pen.polygon(
            rounded(
                [
                    (left + 0.1, bottom),
                    (left + 0.9, top * 0.8),
                    (right - 0.8, top * 0.85),
                    (right - 0.1, bottom),
                ]
            ),
            (150, 122, 88),
        )
        pen.solid([(left, bottom), (left, top * 0.58), (right, top * 0.58), (right, bottom)], v.second)
    else:
        pen.solid([(left, bottom), (left, top), (right, top), (right, bottom)], v.second)
    if v.load == 1:
        for n in range(1, 12):
            x = left + (right - left) * n / 12
            pen.line([(x, bottom + 0.1), (x, top - 0.1)], 0.05, shade(v.second, 0.75))
    draw_stripe(pen, v, [(left, bottom + 0.25), (right, bottom + 0.25)], width=0.2, colour=v.body)
    draw_badge(
        pen, v, ((left + right) / 2, bottom + 0.5 * (top * (0.6 if v.load == 3 else 1) - bottom)), 0.42
    )
    front = [
        (cab, floor - 0.1),
        (cab, roof),
        (half - 0.35 * v.nose - 0.1, roof),
        (half, floor + 0.45 * roof),
        (half, floor - 0.1),
    ]
    pen.solid(front, v.body, end=shade(v.body, 0.8))
    window = [
        (cab + 0.35, roof * 0.6),
        (cab + 0.35, roof - 0.16),
        (half - 0.35 * v.nose - 0.3, roof - 0.16),
        (half - 0.25, roof * 0.6),
    ]
    pen.polygon(window, GLASS)
    pen.disc((cab + half) / 2, roof * 0.6 + 0.24, 0.2, v.skin)
    pen.box((cab + half) / 2 - 0.24, roof * 0.6, (cab + half) / 2 + 0.24, roof * 0.6 + 0.12, v.clothes)
    pen.box(half - 0.24, floor + 0.1, half - 0.02, floor + 0.32, LAMP)
    pen.box(-half, floor, -half + 0.14, floor + 0.18, BRAKE)
    for x in wheels:
        pen.wheel(x, v.wheel, v.hub)


def draw_bus(pen: Pen, v: Vehicle) -> None:
    """Draw a bus with a row of windows and somebody in some of them."""
    half, floor, roof = v.length / 2, 0.34, v.height
    wheels = (-half * 0.62, half * 0.66)
    for x in wheels:
        pen.wheel(x, v.wheel, v.hub, depth=1)
    lean = 0.1 + 0.3 * v.nose
    pen.solid(
        [
            (-half, floor),
            (-half + 0.08, roof),
            (half - lean, roof),
            (half, floor + 0.4 * roof),
            (half, floor),
        ],
        v.body,
    )
    if v.stripe == 3:
        pen.polygon(
            [(-half, floor), (-half + 0.03, 0.48 * roof), (half, 0.48 * roof), (half, floor)], v.second
        )
    sill, top = 0.52 * roof, 0.84 * roof
    left, right = -half + 0.3, half - 0.95
    pitch = (right - left) / v.windows
    for n in range(v.windows):
        x = left + pitch * n
        pen.box(x, sill, x + pitch - 0.16, top, GLASS)
        if (v.badge * 7 + v.load * 3 + n * 5) % 4 < 2:
            middle = x + pitch / 2 - 0.08
            pen.box(middle - 0.22, sill + 0.01, middle + 0.22, sill + 0.18, v.clothes if n % 2 else v.second)
            pen.disc(middle, sill + 0.32, 0.18, v.skin)
    pen.polygon(
        [
            (half - 0.75, floor + 0.15),
            (half - 0.75, top),
            (half - lean - 0.12, top),
            (half - 0.1, floor + 0.4 * roof),
            (half - 0.1, floor + 0.15),
        ],
        shade(GLASS, 0.8),
    )
    level = floor + 0.24 * roof
    draw_stripe(pen, v, [(-half * 0.99, level), (half - 0.85, level)], width=0.2)
    draw_badge(pen, v, (-half * 0.1, floor + 0.16 * roof), 0.3)
    pen.box(half - 0.2, floor + 0.1, half - 0.01, floor + 0.3, LAMP)
    pen.box(-half, floor + 0.1, -half + 0.13, floor + 0.42, BRAKE)
    if v.load:
        pen.solid(
            [(-0.9 * v.load / 2, roof), (-0.8 * v.load / 2, roof + 0.2), (0.3, roof + 0.2), (0.4, roof)],
            shade(v.body, 0.9),
        )
    for x in wheels:
        pen.disc(x, v.wheel, v.wheel * 1.14, BLACK)
        pen.wheel(x, v.wheel, v.hub)


def draw_motorcycle(pen: Pen, v: Vehicle) -> None:
    """Draw a scooter or a motorcycle with its rider."""
    half, seat, radius = v.length / 2, 0.72 * v.height, 0.3 + 0.04 * v.nose
    rear, front = -half + radius, half - radius
    for x in (rear, front):
        pen.wheel(x, radius, v.hub)
    pen.line([(front, radius), (front - 0.22, v.height)], 0.07, STEEL)
    pen.line([(front - 0.22, v.height), (front - 0.42, v.height + 0.06)], 0.05, BLACK)
    pen.line([(rear - 0.1, radius - 0.02), (0.1, radius - 0.05)], 0.09, STEEL)
    if v.tail < 0.5:  # a scooter: a leg shield and a low floor
        pen.polygon(
            rounded(
                [
                    (rear - 0.25, seat - 0.1),
                    (rear - 0.2, radius + 0.06),
                    (0.25, radius - 0.04),
                    (front - 0.35, radius),
                    (front - 0.18, v.height - 0.04),
                    (front - 0.32, v.height),
                    (front - 0.5, radius + 0.12),
                    (0.05, radius + 0.14),
                    (0.0, seat),
                ],
                0.15,
            ),
            v.body,
        )
    else:
        pen.polygon(
            rounded(
                [
                    (rear - 0.15, seat + 0.02),
                    (rear + 0.1, radius + 0.1),
                    (0.3, radius - 0.02),
                    (front - 0.3, seat - 0.05),
                    (front - 0.3, seat + 0.12),
                    (0.1, seat + 0.18),
                    (-0.05, seat),
                ],
                0.15,
            ),
            v.body,
        )
    pen.polygon(
        rounded([(rear - 0.22, seat), (rear - 0.25, seat + 0.1), (0.02, seat + 0.06), (0.05, seat - 0.02)]),
        BLACK,
    )
    pen.disc(front - 0.1, v.height - 0.16, 0.09, LAMP)
    pen.box(rear - 0.3, seat - 0.14, rear - 0.2, seat - 0.02, BRAKE)
    hip, shoulder, head = (
        (-0.22, seat + 0.08),
        (-0.12 + 0.12 * v.tail, seat + 0.62),
        (0.0 + 0.14 * v.tail, seat + 0.86),
    )
    pen.line([hip, (0.18, seat - 0.02), (0.12, radius)], 0.15, shade(v.second, 0.6))
    pen.box(0.06, radius - 0.06, 0.32, radius + 0.04, BLACK)
    pen.line([hip, shoulder], 0.3, v.clothes)
    pen.disc(*shoulder, 0.15, v.clothes)
    pen.disc(*hip, 0.15, v.clothes)
    pen.line([shoulder, (0.14, seat + 0.3), (front - 0.4, v.height + 0.04)], 0.1, shade(v.clothes, 0.82))
    pen.disc(*head, 0.17, v.second)
    pen.box(head[0] + 0.02, head[1] - 0.1, head[0] + 0.17, head[1] + 0.03, v.skin)
    if v.load >= 2:
        pen.box(rear - 0.42, seat + 0.08, rear + 0.1, seat + 0.5, v.body if v.load == 2 else v.hub)
        draw_badge(pen, v, (rear - 0.16, seat + 0.29), 0.13)
