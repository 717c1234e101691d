"""Small pictures as data URIs, so that a page needs no other file."""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from models.errors import DatasetError, ImageError
from models.images import decode

__all__ = ["thumbnail"]

_SIDE = 112
_QUALITY = 80


def thumbnail(path: Path) -> str:
    """Return a picture as the data URI of a small JPEG, upright and of its own proportions.

    Raises:
        DatasetError: it cannot be read or decoded any more.
    """
    try:
        pixels = decode(path.read_bytes())
    except (ImageError, OSError) as error:
        raise DatasetError(f"{path} cannot be shown in the report: {error}") from error
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE))
    file = BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
