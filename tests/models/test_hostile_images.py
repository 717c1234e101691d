"""Decoding what is cut off, corrupt or made to exhaust the machine: an ImageError, soon, in little memory."""

import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from models.images import decode
from tests.models.pictures import PNG_START, chunk, encoded, exif, png, smooth, with_segment

FILES = {
    "JPEG": encoded(smooth(36, 44), "JPEG"),
    "progressive JPEG": encoded(smooth(36, 44), "JPEG", progressive=True),
    "JPEG with restarts": encoded(smooth(36, 44), "JPEG", restart_marker_blocks=1),
    "CMYK JPEG": encoded(Image.fromarray(smooth(36, 44)).convert("CMYK"), "JPEG"),
    "PNG": encoded(smooth(36, 44), "PNG"),
    "transparent PNG": encoded(smooth(36, 44, 4), "PNG"),
    "WebP": encoded(smooth(36, 44), "WEBP"),
    "lossless WebP": encoded(smooth(36, 44), "WEBP", lossless=True),
}
EVERY_FILE = pytest.mark.parametrize("file", FILES.values(), ids=FILES.keys())

# Prints by how many MB the peak of memory grows while the file is decoded, and what became of it.
MEASURE = """
import resource, sys
from pathlib import Path
from models.images import decode
for name in sys.argv[1:]:
    data = Path(name).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        outcome = str(decode(data, (96, 96)).shape)
    except Exception as error:
        outcome = type(error).__name__
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, outcome)
"""


def memory_to_decode(tmp_path: Path, data: bytes) -> tuple[float, str]:
    """Return the growth in MB and the outcome, in a process that has decoded a small picture before."""
    warm_up, file = tmp_path / "small", tmp_path / "hostile"
    warm_up.write_bytes(FILES["PNG"])
    file.write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(warm_up), str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, outcome = run.stdout.splitlines()[-1].split(maxsplit=1)
    return float(grown), outcome


@EVERY_FILE
@pytest.mark.parametrize("size", [None, (9, 9)])
def test_cut_off_anywhere_a_picture_is_damaged(file: bytes, size: tuple[int, int] | None) -> None:
    for end in range(12, len(file)):
        with pytest.raises(DamagedImageError):
            decode(file[:end], size)
    for end in range(12):
        with pytest.raises((UnsupportedImageError, DamagedImageError)):
            decode(file[:end], size)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_large_picture_cut_off_or_zeroed_from_somewhere_is_damaged(image_format: str) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (600, 700, 3)).astype(np.uint8)
    file = encoded(noisy, image_format)
    for end in np.linspace(len(file) // 50, len(file) - 1, 25).astype(int):
        with pytest.raises(DamagedImageError):
            decode(file[:end])
        if image_format != "WEBP":  # which has neither checksums nor an end mark
            with pytest.raises(DamagedImageError):  # a download that was given its full length beforehand
                decode(file[:end] + bytes(len(file) - end))


@EVERY_FILE
def test_flipped_bits_raise_nothing_but_image_errors(file: bytes) -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        flipped = bytearray(file)
        for position in rng.integers(0, len(file), rng.integers(1, 6)):
            flipped[position] ^= 1 << int(rng.integers(0, 8))
        with suppress(ImageError):
            assert decode(bytes(flipped), (9, 9)).shape == (9, 9, 3)


@pytest.mark.parametrize("name", ["PNG", "transparent PNG"])
def test_no_flipped_bit_in_a_png_goes_unseen(name: str) -> None:
    file = FILES[name]
    for position in range(len(file)):
        for bit in (0, 7):
            flipped = bytearray(file)
            flipped[position] ^= 1 << bit
            with pytest.raises(ImageError):
                decode(bytes(flipped))


@pytest.mark.parametrize("start", [b"\xff\xd8\xff", PNG_START, b"RIFF\x10\x00\x00\x00WEBP"])
def test_a_good_start_and_then_noise_is_damaged(start: bytes) -> None:
    rng = np.random.default_rng(2)
    for length in (0, 1, 10, 100, 10_000):
        with pytest.raises(DamagedImageError, match="send the whole file again"):
            decode(start + rng.bytes(length))


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some of it; nobody reads that
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_does_not_lose_a_good_picture(image_format: str) -> None:
    options = {"WEBP": {"lossless": True}}.get(image_format, {})
    file = encoded(smooth(12, 20), image_format, **options)
    expected = decode(file)
    rng = np.random.default_rng(3)
    good = exif(1)
    for _ in range(150):
        broken = bytearray(good[: rng.integers(0, len(good))] + rng.bytes(int(rng.integers(0, 40))))
        if len(broken) > 8:
            broken[18:20] = b"\0\1"  # whatever it says, the picture stays upright
        if image_format == "JPEG":
            with_exif = with_segment(file, 0xE1, b"Exif\0\0" + bytes(broken))
        elif image_format == "PNG":
            with_exif = file[:33] + chunk(b"eXIf", bytes(broken)) + file[33:]
        else:
            with_exif = encoded(smooth(12, 20), "WEBP", exif=bytes(broken) or b"x", **options)
        np.testing.assert_array_equal(decode(with_exif), expected)


@pytest.mark.filterwarnings("ignore")
def test_broken_segments_of_metadata_do_not_lose_a_good_jpeg() -> None:
    expected = decode(FILES["JPEG"])
    rng = np.random.default_rng(4)
    starts = [
        b"MPF\0",
        b"MPF\0MM\0*\0\0\0\x08\0\0",
        b"ICC_PROFILE\0\1\1",
        b"JFIF\0",
        b"Adobe",
        b"Photoshop 3.0\0",
    ]
    for start in starts:
        for marker in (0xE1, 0xE2, 0xED, 0xFE):
            file = with_segment(FILES["JPEG"], marker, start + rng.bytes(int(rng.integers(0, 60))))
            np.testing.assert_array_equal(decode(file), expected)


def test_what_follows_the_end_of_a_picture_is_ignored() -> None:
    for name in ("JPEG", "PNG"):  # phones append videos to JPEGs
        file = FILES[name]
        np.testing.assert_array_equal(decode(file + b"\xff\xda" * 1000 + bytes(1000)), decode(file))


def test_a_hundred_megapixels_in_a_hundred_kilobytes_are_refused_before_they_are_decoded(
    tmp_path: Path,
) -> None:
    file = png((10_000, 10_000), depth=8, colour=0, rows=None)
    assert len(file) < 150_000
    start = time.thread_time()
    with pytest.raises(ImageTooLargeError, match="100,000,000 pixels"):
        decode(file)
    assert time.thread_time() - start < 0.05  # to decode it takes half a second
    grown, outcome = memory_to_decode(tmp_path, file)
    assert (grown < 10, outcome) == (True, "ImageTooLargeError")


@pytest.mark.parametrize("kind", ["VP8L", "VP8X"])
def test_a_huge_webp_is_refused_before_it_is_decoded(tmp_path: Path, kind: str) -> None:
    largest = 16_383 - 1
    if kind == "VP8L":
        body = b"\x2f" + (largest | largest << 14).to_bytes(4, "little") + bytes.fromhex("88880844 00000000")
    else:
        still = encoded(smooth(8, 8), "WEBP")[12:]
        frame = bytes(12) + (100).to_bytes(3, "little") + b"\0" + still
        body = b"\x02" + bytes(3) + largest.to_bytes(3, "little") * 2
        body += b"ANIM" + (6).to_bytes(4, "little") + bytes(6)
        body += b"ANMF" + len(frame).to_bytes(4, "little") + frame[:6] + b"\x07\0\0\x07\0\0" + frame[12:]
    size = 10 if kind == "VP8X" else len(body)
    content = b"WEBP" + kind.encode() + size.to_bytes(4, "little") + body + bytes(len(body) % 2)
    grown, outcome = memory_to_decode(tmp_path, b"RIFF" + len(content).to_bytes(4, "little") + content)
    assert (grown < 10, outcome) == (True, "ImageTooLargeError")


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_packed_metadata_of_a_png_does_not_fill_the_memory(tmp_path: Path, kind: str) -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)
    head = {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0"}[kind]
    extra = chunk(kind.encode(), head + bomb)
    grown, outcome = memory_to_decode(tmp_path, png((8, 8), depth=8, colour=2, rows=None, extra=extra))
    assert (grown < 30, outcome) == (True, "DamagedImageError")


def test_many_packed_texts_in_a_png_do_not_fill_the_memory(tmp_path: Path) -> None:
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9))
    file = png((8, 8), depth=8, colour=2, rows=None, extra=text * 2000)  # 2 GB of text in 2 MB
    grown, outcome = memory_to_decode(tmp_path, file)
    assert (grown < 400, outcome) == (True, "DamagedImageError")


def test_a_transparent_picture_takes_about_twice_its_own_pixels(tmp_path: Path) -> None:
    megapixels = 12
    file = png((4000, megapixels * 250), depth=8, colour=6, rows=None)
    grown, outcome = memory_to_decode(tmp_path, file)
    assert outcome == "(96, 96, 3)"
    assert grown < 10 * megapixels


def test_endless_scans_of_a_jpeg_are_refused() -> None:
    # A hundred bytes more, and all pixels are gone over once more: 20 MB would take hours.
    file = encoded(Image.new("RGB", (640, 480)), "JPEG", progressive=True)
    last = file[file.rfind(b"\xff\xc4", 0, file.rfind(b"\xff\xda")) : -2]
    decode(file[:-2] + last * 20 + b"\xff\xd9")
    start = time.thread_time()
    with pytest.raises(DamagedImageError, match="more than 100 scans"):
        decode(file[:-2] + last * 10_000 + b"\xff\xd9")
    assert time.thread_time() - start < 0.1


def test_endless_segments_are_refused() -> None:
    jpeg, start = FILES["JPEG"], time.thread_time()
    with pytest.raises(DamagedImageError, match="segments"):
        decode(jpeg[:2] + b"\xff\xed\x00\x02" * 2_000_000 + jpeg[2:])
    with pytest.raises(DamagedImageError, match="chunks"):
        decode(png((8, 8), depth=8, colour=2, rows=None, extra=chunk(b"prVt", b"") * 1_000_000))
    assert time.thread_time() - start < 0.5
