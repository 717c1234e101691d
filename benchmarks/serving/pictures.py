"""The pictures that are sent: drawn once, the same for every server."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from models.drawing import draw_vehicle

__all__ = ["draw_pictures"]

_SIZE = (320, 240)
_QUALITY = 90
_VIEWS = 2


def draw_pictures(folder: Path, count: int) -> Sequence[Path]:
    """Return the paths of JPEGs of 320 x 240 pixels, about 17 KB each; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.is_file():
            buffer = BytesIO()
            picture = draw_vehicle(1 + number // _VIEWS, 1 + number % _VIEWS, size=_SIZE)
            picture.save(buffer, "JPEG", quality=_QUALITY)
            path.write_bytes(buffer.getvalue())
    return paths
