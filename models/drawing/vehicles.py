"""What an identity fixes of a vehicle: its kind, its paints, its proportions and what it carries."""

import colorsys
from dataclasses import dataclass

import numpy as np

from models.drawing.pen import Colour

__all__ = ["Vehicle", "make_vehicle"]

_KINDS = ("car", "van", "truck", "bus", "motorcycle")
_SKIN: tuple[Colour, ...] = ((246, 212, 180), (224, 172, 128), (166, 112, 76), (104, 68, 48))
# Hue in turns, saturation, value: paints that a child would name.
_PAINTS = (
    (0.00, 0.82, 0.82),
    (0.06, 0.85, 0.93),
    (0.13, 0.82, 0.96),
    (0.27, 0.55, 0.72),
    (0.40, 0.62, 0.58),
    (0.50, 0.55, 0.76),
    (0.57, 0.72, 0.86),
    (0.65, 0.70, 0.62),
    (0.78, 0.42, 0.66),
    (0.93, 0.45, 0.92),
    (0.10, 0.10, 0.96),
    (0.60, 0.08, 0.66),
    (0.62, 0.20, 0.26),
    (0.08, 0.50, 0.48),
)


@dataclass(frozen=True)
class Vehicle:
    """What an identity fixes. Lengths are in metres, shares from 0 to 1."""

    kind: str
    body: Colour
    second: Colour
    hub: Colour
    clothes: Colour
    skin: Colour
    length: float
    height: float
    wheel: float
    nose: float
    tail: float
    windows: int
    stripe: int
    load: int
    badge: int

    @property
    def extent(self) -> tuple[float, float, float]:
        """Return (length, height, breadth), a rider included."""
        if self.kind == "motorcycle":
            return self.length, self.height + 0.75, 0.4
        return self.length, self.height, 1.7


def make_vehicle(rng: np.random.Generator) -> Vehicle:
    """Draw what an identity fixes."""
    kind = _KINDS[rng.choice(5, p=(0.34, 0.18, 0.18, 0.12, 0.18))]
    length, height = {
        "car": (rng.uniform(3.4, 4.8), rng.uniform(1.35, 1.8)),
        "van": (rng.uniform(4.4, 5.6), rng.uniform(1.9, 2.5)),
        "truck": (rng.uniform(5.6, 7.6), rng.uniform(2.6, 3.3)),
        "bus": (rng.uniform(7.2, 9.2), rng.uniform(2.7, 3.3)),
        "motorcycle": (rng.uniform(1.7, 2.3), rng.uniform(0.95, 1.15)),
    }[kind]
    return Vehicle(
        kind=kind,
        body=_paint(rng),
        second=_paint(rng),
        hub=_paint(rng) if rng.random() < 0.3 else (204, 206, 212),
        clothes=_paint(rng),
        skin=_SKIN[rng.integers(len(_SKIN))],
        length=float(length),
        height=float(height),
        wheel=float(rng.uniform(0.29, 0.36) * {"truck": 1.45, "bus": 1.45, "van": 1.1}.get(kind, 1.0)),
        nose=float(rng.random()),
        tail=float(rng.random()),
        windows=int(rng.integers(2, 4) if kind in {"car", "van"} else rng.integers(4, 8)),
        stripe=int(rng.integers(4)),
        load=int(rng.integers(4)),
        badge=int(rng.integers(5)),
    )


def _paint(rng: np.random.Generator) -> Colour:
    """Draw a paint, each a little different from its like."""
    hue, saturation, value = _PAINTS[rng.integers(len(_PAINTS))]
    jitter = rng.uniform(-1, 1, 3)
    red, green, blue = colorsys.hsv_to_rgb(
        (hue + 0.02 * jitter[0]) % 1,
        min(1, saturation * (1 + 0.12 * jitter[1])),
        min(1, value * (1 + 0.08 * jitter[2])),
    )
    return round(255 * red), round(255 * green), round(255 * blue)
