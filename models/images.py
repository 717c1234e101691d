"""Bytes to pixels. Every limit on input images lives here, once."""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from models.errors import DamagedImageError, ImageTooLargeError, UnsupportedImageError

__all__ = ["ImageLimits", "Pixels", "Resize", "decode", "shorter_side", "sniff", "thumbnail"]

Pixels = npt.NDArray[np.uint8]
Resize = Literal["bilinear", "bicubic"]

# `decode` checks the pixel count itself, before any pixel is decoded and with a message that says
# the limit; Pillow's own check would only warn, or fail without the numbers.
Image.MAX_IMAGE_PIXELS = None

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Opened by class: Image.open would look for further pictures in a JPEG (MPO) and fail where they are odd.
_OPEN: dict[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
}

# By EXIF orientation; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# An ordinary progressive JPEG has about ten scans, and a hundred bytes are enough to ask for one more pass
# over all pixels.
_MAX_SCANS = 100

# In JPEG: a marker, other than the stuffed zeros and restarts of pixel data.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)

_THUMBNAIL_QUALITY = 85

# Formats that people send and that are not read, so that the answer can name them.
_FOREIGN = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG"),
    (b"<?xml", "an XML or SVG file"),
    (b"<", "an HTML page"),
    (b"PK\x03\x04", "a ZIP archive"),
)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What one input image may be: bytes as received, and pixels (width x height) as declared."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


def decode(
    data: bytes,
    size: tuple[int, int] | None = None,
    *,
    grey: bool = False,
    resize: Resize = "bilinear",
    within: int | None = None,
    limits: ImageLimits | None = None,
) -> Pixels:
    """Return the upright pixels of a JPEG, PNG or WebP.

    EXIF orientation is applied where it can be read; grey, palette, CMYK and 16-bit pictures become
    8-bit ones; transparency is laid over white; of an animation the first frame counts.

    Args:
        data: the file's bytes.
        size: (height, width) to stretch to, with antialiasing; None keeps the picture's own.
        grey: one channel (ITU-R 601 luma) instead of RGB.
        resize: the interpolation.
        within: the longest side that it may keep, where no size is given; its proportions stay.
        limits: refuse larger pictures, before decoding them; None is ImageLimits().

    Returns:
        (H, W, C) uint8; C is 1 for grey, else 3.

    Raises:
        UnsupportedImageError: no JPEG, PNG or WebP.
        DamagedImageError: one of these, but truncated or corrupt.
        ImageTooLargeError: more bytes or pixels than the limits.
    """
    limits = limits or ImageLimits()
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(
            f"The image has {len(data):,} bytes and the limit is {limits.max_bytes:,}. Send a smaller file.",
            limit=limits.max_bytes,
            got=len(data),
        )
    image_format = sniff(data)
    try:
        if image_format == "JPEG":
            _check_jpeg(data)
        elif image_format == "PNG":
            _check_png(data)
        with _OPEN[image_format](BytesIO(data)) as image:
            _check_pixels(image, limits.max_pixels)
            longest = max(size) if size is not None else within
            if longest is not None and image_format == "JPEG":
                # Decode at 1/2, 1/4 or 1/8 where that still leaves twice the pixels that are needed,
                # so that the antialiased resize below has enough to average.
                image.draft(None, (2 * longest, 2 * longest))
            image.load()
            flat = _eight_bit(image).convert("L" if grey else "RGB")
            turn = _UPRIGHT.get(_orientation(image))
            if turn is not None:
                flat = flat.transpose(turn)
            if (wanted := _wanted_size(flat, size, within)) != flat.size:
                flat = flat.resize(wanted, _RESAMPLING[resize])
    except ImageTooLargeError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on hostile bytes
        raise DamagedImageError(
            f"The {image_format} is damaged and cannot be decoded ({_reason(error)}). "
            "It may be truncated: send the whole file again."
        ) from error
    return np.asarray(flat, dtype=np.uint8).reshape(flat.height, flat.width, -1)


def thumbnail(data: bytes, side: int, *, limits: ImageLimits | None = None) -> bytes:
    """Return a small JPEG of a picture: upright, its longer side at most `side` pixels, without metadata.

    Raises:
        UnsupportedImageError, DamagedImageError, ImageTooLargeError: as `decode`.
    """
    small = BytesIO()
    Image.fromarray(decode(data, within=side, limits=limits)).save(small, "JPEG", quality=_THUMBNAIL_QUALITY)
    return small.getvalue()


def shorter_side(data: bytes) -> int:
    """Return the shorter side in pixels of a picture that `decode` has taken; only its header is read."""
    with _OPEN[sniff(data)](BytesIO(data)) as image:
        return min(image.size)


def sniff(data: bytes) -> Literal["JPEG", "PNG", "WEBP"]:
    """Return the format that the first bytes declare.

    Raises:
        UnsupportedImageError: none of the three that are read.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedImageError(f"{_description(data)} Send a JPEG, PNG or WebP.")


def _wanted_size(image: Image.Image, size: tuple[int, int] | None, within: int | None) -> tuple[int, int]:
    """Return the (width, height) that a picture is to have."""
    if size is not None:
        return size[1], size[0]
    scale = min(1.0, (within or max(image.size)) / max(image.size))
    return max(1, round(scale * image.width)), max(1, round(scale * image.height))


def _description(data: bytes) -> str:
    """Say what bytes that are no readable picture seem to be."""
    if not data:
        return "The image is empty."
    if data[4:8] == b"ftyp":
        return "The image is a HEIC, AVIF or video file."
    start = data.lstrip()[:8]
    for signature, what in _FOREIGN:
        if start.startswith(signature):
            return f"The image is {what}."
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data[:64]):
        return "The image is text."
    return "The image is of an unknown format."


def _check_pixels(image: Image.Image, limit: int) -> None:
    """Refuse what would become too many pixels; only the header has been read so far."""
    pixels = image.width * image.height
    if pixels > limit:
        raise ImageTooLargeError(
            f"The image has {image.width:,} x {image.height:,} = {pixels:,} pixels "
            f"and the limit is {limit:,}. Scale it down first.",
            limit=limit,
            got=pixels,
        )


def _check_jpeg(data: bytes) -> None:
    """Walk the markers up to the end of the picture, so that a missing end and endless scans are seen."""
    position, scans, segments = 2, 0, 0
    while marker := _MARKER.search(data, position):
        if marker[1] == b"\xd9":  # end of image
            return
        scans += marker[1] == b"\xda"  # start of scan
        segments += 1
        if scans > _MAX_SCANS or segments > _most_segments(data):
            raise ValueError(f"it has more than {scans - 1} scans or {segments - 1} segments")
        (length,) = struct.unpack_from(">H", data, marker.end())
        position = marker.end() + length
    raise ValueError("its end is missing")


def _check_png(data: bytes) -> None:
    """Walk the chunks and verify their checksums; Pillow would give black rows where some are lost."""
    view, position = memoryview(data), 8
    for _ in range(_most_segments(data)):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (expected,) = struct.unpack_from(">I", data, end)
        is_critical = kind[:1].isupper()
        if is_critical and zlib.crc32(view[position + 4 : end]) != expected:
            raise ValueError("a checksum is wrong")
        if kind == b"IEND":
            return
        position = end + 4
    raise ValueError(f"it has more than {_most_segments(data)} chunks")


def _most_segments(data: bytes) -> int:
    """Return how many segments are believable; each costs Pillow some microseconds of Python."""
    return 10_000 + len(data) // 1_000


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # hostile EXIF raises many types, and the pixels are good all the same
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the picture in a mode that converts to L or RGB as an eye would expect."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        with_alpha = image if image.mode == "RGBA" else image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(with_alpha, mask=with_alpha)
        return flat
    return image


def _reason(error: Exception) -> str:
    """Return a decoder's complaint without object addresses."""
    if isinstance(error, struct.error):
        return "it ends too early"
    text = str(error).split(" at 0x")[0].strip()
    return text if text and "<" not in text else type(error).__name__
