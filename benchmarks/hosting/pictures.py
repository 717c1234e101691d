"""What is sent: pictures of our own drawing, and files that are none, each in a way of its own."""

from dataclasses import dataclass
from io import BytesIO
from zlib import crc32

from benchmarks.hosting.client import request
from models.drawing import draw_vehicle

__all__ = ["Picture", "corrupt_pictures", "good_pictures"]

_PATH = "/v1/embeddings?encoding_format=base64"
_SIZE = (160, 120)


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and what it must be answered with.

    Attributes:
        name: as the tables have it.
        data: the file's bytes.
        media_type: as it is sent.
        status, problem: of the answer; 200 and no problem for a good one.
    """

    name: str
    data: bytes
    media_type: str = "image/jpeg"
    status: int = 200
    problem: str = ""

    def request(self, **headers: str) -> bytes:
        """Return the request for its embedding, the file as the body."""
        return request("POST", _PATH, self.data, content_type=self.media_type, **headers)


def good_pictures(count: int) -> list[Picture]:
    """Return JPEG and PNG files of different vehicles, three JPEG to one PNG."""
    return [_drawn(number, "PNG" if number % 4 == 3 else "JPEG") for number in range(count)]


def corrupt_pictures() -> list[Picture]:
    """Return files that cannot be decoded, each broken in another way."""
    jpeg, png = _drawn(0, "JPEG").data, _drawn(0, "PNG").data
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    bomb = png[:16] + (50_000).to_bytes(4, "big") * 2 + png[24:29]
    bomb += crc32(bomb[12:29]).to_bytes(4, "big") + png[33:]
    damaged, unsupported = "/problems/damaged-image", "/problems/unsupported-image"
    return [
        Picture("JPEG cut off", jpeg[: len(jpeg) // 2], status=422, problem=damaged),
        Picture("PNG cut off", png[: len(png) // 2], "image/png", 422, damaged),
        Picture("PNG with a wrong byte", bytes(flipped), "image/png", 422, damaged),
        Picture("text", b"This is no picture. " * 100, status=422, problem=unsupported),
        Picture("JPEG without its beginning", jpeg[100:], status=422, problem=unsupported),
        Picture("PNG of 2,500 million pixels", bomb, "image/png", 413, "/problems/image-too-large"),
    ]


def _drawn(number: int, file_format: str) -> Picture:
    file = BytesIO()
    draw_vehicle(number, 0, size=_SIZE).save(file, format=file_format)
    return Picture(f"vehicle {number}", file.getvalue(), f"image/{file_format.lower()}")
