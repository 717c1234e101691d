"""Cars and vans."""

from models.drawing.pen import BLACK, Pen, rounded, shade
from models.drawing.trim import BRAKE, GLASS, LAMP, STEEL, draw_badge, draw_stripe
from models.drawing.vehicles import Vehicle

__all__ = ["draw_car"]


def draw_car(pen: Pen, v: Vehicle) -> None:
    """Draw a car, from hatchback to saloon, or a van, which has more of everything above the belt."""
    half, roof, floor = v.length / 2, v.height, 0.24
    van = v.kind == "van"
    belt = floor + (roof - floor) * (0.5 if van else 0.52)
    bonnet = belt - (0.05 + 0.1 * v.nose)
    rear_wheel, front_wheel = -half * 0.6, half * 0.62
    windscreen = half * (0.72 if van else 0.42 + 0.12 * v.nose)
    front, back = windscreen - 0.55, -half * (0.97 if van else 0.93 - 0.22 * v.tail)
    rear_slope = 0.05 if van else 0.25 + 0.5 * v.tail
    for x in (rear_wheel, front_wheel):
        pen.wheel(x, v.wheel, v.hub, depth=1)
    pen.solid(
        [
            (-half, floor),
            (-half, belt - 0.04),
            (back, belt),
            (windscreen, belt),
            (half * 0.96, bonnet),
            (half, floor),
        ],
        v.body,
    )
    cabin = [(back, belt - 0.02), (back + rear_slope, roof), (front, roof), (windscreen, belt - 0.02)]
    pen.solid(cabin, v.second if v.stripe == 3 else v.body, end=GLASS)
    _draw_side_windows(pen, v, cabin)
    pen.polygon(
        rounded([(-half, floor), (-half, belt - 0.05), (half * 0.96, bonnet - 0.02), (half, floor)], 0.08),
        v.body,
    )
    level = floor + 0.42 * (belt - floor)
    draw_stripe(pen, v, [(-half * 0.97, level), (half * 0.97, level)], width=0.16)
    for x in (back + rear_slope + 0.35, 0.1):
        pen.line([(x, belt - 0.08), (x, floor + 0.1)], 0.025, shade(v.body, 0.7))
    pen.box(0.2, belt - 0.16, 0.42, belt - 0.11, shade(v.body, 0.55))
    draw_badge(
        pen, v, (-0.45 if van else -0.25, (belt + floor) / 2 + (0.1 if van else 0.0)), 0.27 if van else 0.2
    )
    pen.box(
        -half * 1.01, floor - 0.03, half * 1.01, floor + 0.1, shade(v.body, 0.45) if v.tail < 0.5 else STEEL
    )
    pen.disc(half * 0.93, bonnet - 0.14, 0.1, LAMP)
    pen.box(-half * 0.99, belt - 0.3, -half * 0.99 + 0.14, belt - 0.1, BRAKE)
    for x in (rear_wheel, front_wheel):
        pen.disc(x, v.wheel, v.wheel * 1.16, BLACK)
        pen.wheel(x, v.wheel, v.hub)
    _draw_load(pen, v, (back + rear_slope, front), roof)


def _draw_side_windows(pen: Pen, v: Vehicle, cabin: list[tuple[float, float]]) -> None:
    """Draw the glass of a cabin's side, the driver behind it, and the posts between."""
    (back, belt), (rear, roof), (front, _), (windscreen, _) = cabin
    top, bottom = roof - 0.1, belt + 0.04
    pen.polygon(
        [(back + 0.16, bottom), (rear + 0.08, top), (front - 0.06, top), (windscreen - 0.2, bottom)], GLASS
    )
    sheen = rear + 0.35 * (front - rear)
    pen.polygon(
        [(sheen, bottom), (sheen + 0.25, top), (sheen + 0.5, top), (sheen + 0.25, bottom)], shade(GLASS, 1.35)
    )
    seat, tall = front - 0.25, top - bottom
    pen.polygon(
        rounded(
            [
                (seat - 0.22, bottom),
                (seat - 0.2, bottom + 0.3 * tall),
                (seat + 0.18, bottom + 0.3 * tall),
                (seat + 0.24, bottom),
            ]
        ),
        v.clothes,
    )
    pen.disc(seat, bottom + 0.52 * tall, 0.3 * tall, v.skin)
    post = v.second if v.stripe == 3 else v.body
    for n in range(1, v.windows):
        x = rear + (front - rear) * n / v.windows
        pen.line([(x, belt), (x, roof)], 0.09, post)
    if v.kind == "van" and v.load % 2:  # a van for parcels: closed at the rear
        pen.polygon(
            [
                (back + 0.05, bottom - 0.02),
                (rear + 0.05, roof - 0.04),
                (rear + 0.5 * (front - rear), roof - 0.04),
                (rear + 0.5 * (front - rear), bottom - 0.02),
            ],
            post,
        )


def _draw_load(pen: Pen, v: Vehicle, ends: tuple[float, float], roof: float) -> None:
    """Draw what a car has on its roof: nothing, rails with luggage, a taxi sign, or a surfboard."""
    left, right = ends
    middle = (left + right) / 2
    if v.load == 1:
        pen.line([(left + 0.15, roof + 0.07), (right - 0.15, roof + 0.07)], 0.05, BLACK)
        pen.box(middle - 0.5, roof + 0.08, middle + 0.1, roof + 0.34, v.clothes)
    elif v.load == 2 and v.kind == "car":
        pen.box(middle - 0.25, roof + 0.01, middle + 0.25, roof + 0.2, (250, 224, 90))
    elif v.load == 3 and v.kind == "car":
        pen.polygon(
            rounded(
                [
                    (left - 0.4, roof + 0.08),
                    (left, roof + 0.19),
                    (right + 0.1, roof + 0.17),
                    (right + 0.55, roof + 0.07),
                ]
            ),
            v.second,
        )
