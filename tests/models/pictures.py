"""Pictures as files: encoded by Pillow, or put together by hand where Pillow would not write them."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["chunk", "encoded", "exif", "png", "smooth", "with_segment"]

PNG_START = b"\x89PNG\r\n\x1a\n"


def smooth(height: int, width: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Return (H, W, C) colour gradients without symmetry, which JPEG keeps almost as they are."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        40 + 160 * y / height + 30 * x / width,
        200 - 150 * x / width,
        60 + 60 * (x / width) * (y / height) + 80 * y / height,
        np.clip(255 * x / width, 0, 255),
    ]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def encoded(picture: Image.Image | npt.NDArray[Any], image_format: str, **options: Any) -> bytes:
    """Return the bytes of a file as Pillow writes it."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(size: tuple[int, int], *, depth: int, colour: int, rows: bytes | None, extra: bytes = b"") -> bytes:
    """Return a PNG.

    Args:
        size: (width, height).
        depth: bits a channel.
        colour: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA.
        rows: the pixels of every row without filter bytes; None is all zeros, compressed piece by piece.
        extra: chunks between header and pixels.
    """
    width, height = size
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    stride = (width * channels * depth + 7) // 8
    packer = zlib.compressobj(9)
    packed = b""
    for row in range(height):
        packed += packer.compress(b"\0" + (bytes(stride) if rows is None else rows[row * stride :][:stride]))
    packed += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG_START + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    """Return the TIFF structure of EXIF with nothing but an orientation."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """Return a JPEG with one more segment at its start."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]
