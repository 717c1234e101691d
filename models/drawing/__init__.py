"""Little vehicles that the project draws itself: pictures to test, demonstrate and check encoders with.

An identity fixes the vehicle; a view fixes how a camera sees it: pose, light, place, sharpness, noise.
Equal numbers give equal pictures, on any machine.
"""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from models.drawing.cars import draw_car
from models.drawing.others import draw_bus, draw_motorcycle, draw_truck
from models.drawing.pen import Pen
from models.drawing.scenes import draw_place, expose
from models.drawing.vehicles import make_vehicle
from models.errors import InputError

__all__ = ["draw_dataset", "draw_vehicle"]

_DRAW = {
    "car": draw_car,
    "van": draw_car,
    "truck": draw_truck,
    "bus": draw_bus,
    "motorcycle": draw_motorcycle,
}


def draw_vehicle(identity: int, view: int, *, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Return a picture of a vehicle.

    Args:
        identity: which vehicle, >= 0.
        view: which picture of it, >= 0.
        size: (width, height) in pixels.

    Returns:
        An RGB image, the same for the same arguments.
    """
    vehicle = make_vehicle(np.random.Generator(np.random.PCG64([0, identity])))
    rng = np.random.Generator(np.random.PCG64([1, identity, view]))
    pen = Pen(size, vehicle.extent, rng)
    draw_place(pen, rng)
    pen.shadow()
    _DRAW[vehicle.kind](pen, vehicle)
    return expose(pen.finish(size), rng)


def draw_dataset(out: Path, identities: int, views: int, seed: int = 0) -> Path:
    """Write JPEGs of drawn vehicles and their images.csv (path, identity, camera, split).

    View k counts as camera k. Every fifth identity is in the split val, the others in train.

    Args:
        out: the folder, made if need be; one that holds anything is refused.
        identities: how many vehicles.
        views: how many pictures of each.
        seed: another one gives other vehicles.

    Returns:
        The path of the table.

    Raises:
        InputError: the folder holds something, which would be overwritten or mixed with what is drawn.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise InputError(f"{out} is not empty. Name a new folder, or empty it first.", argument="out")
    table = out / "images.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "identity", "camera", "split"])
        for number in range(1, identities + 1):
            name = f"vehicle_{number:04d}"
            split = "val" if number % 5 == 0 else "train"
            for view in range(1, views + 1):
                path = f"{name}_view{view}.jpg"
                draw_vehicle(seed * 1_000_000 + number, view).save(out / path, quality=90)
                writer.writerow([path, name, view, split])
    return table
