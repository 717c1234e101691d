"""Decoding: every kind of picture that people send becomes the pixels that they see."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.drawing import draw_vehicle
from models.errors import ImageTooLargeError, UnsupportedImageError
from models.images import ImageLimits, Pixels, Resize, decode, sniff
from tests.models.pictures import chunk, encoded, exif, png, smooth, with_segment

# For each EXIF orientation, the side of the upright picture at which the stored row 0 and column 0 lie
# (Exif 2.32, table 4, tag 0x0112).
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def turned_upright(stored: Pixels, orientation: int) -> Pixels:
    row_side, column_side = SIDES[orientation]
    rows, columns = stored.shape[:2]
    sideways = row_side in ("left", "right")
    upright = np.empty((columns, rows, 3) if sideways else stored.shape, np.uint8)
    for r in range(rows):
        for c in range(columns):
            a = r if row_side in ("top", "left") else rows - 1 - r
            b = c if column_side in ("top", "left") else columns - 1 - c
            upright[(b, a) if sideways else (a, b)] = stored[r, c]
    return upright


def assert_close(got: Pixels, expected: Pixels, levels: float) -> None:
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected.astype(int)).mean() <= levels


@pytest.mark.parametrize(
    "options",
    [{"quality": 95}, {"quality": 95, "progressive": True}, {"quality": 95, "restart_marker_blocks": 1}],
    ids=["baseline", "progressive", "restart markers"],
)
def test_jpegs_come_out_as_they_went_in(options: dict[str, object]) -> None:
    assert_close(decode(encoded(smooth(37, 53), "JPEG", **options)), smooth(37, 53), 1.5)


def test_a_grey_jpeg_has_three_equal_channels_or_one() -> None:
    picture = smooth(20, 30, 1)
    file = encoded(picture[..., 0], "JPEG", quality=95)
    assert_close(decode(file), np.repeat(picture, 3, axis=2), 1)
    assert_close(decode(file, grey=True), picture, 1)


def test_a_cmyk_jpeg_is_mixed_into_rgb() -> None:
    inks = np.zeros((16, 80, 4), np.uint8)
    inks[:, 16:32, 0] = inks[:, 32:48, 1] = inks[:, 48:64, 2] = inks[:, 64:, 3] = 255
    expected = np.zeros((16, 80, 3), np.uint8)
    for start, colour in zip(
        range(0, 80, 16),
        [(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)],
        strict=True,
    ):
        expected[:, start : start + 16] = colour
    assert_close(decode(encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)), expected, 3)


def test_grey_is_the_luma_of_itu_601() -> None:
    picture = smooth(16, 16)
    luma = np.round(picture @ np.array([0.299, 0.587, 0.114]))[..., None]
    assert np.abs(decode(encoded(picture, "PNG"), grey=True) - luma).max() <= 1


@pytest.mark.parametrize("orientation", SIDES)
def test_lossless_pictures_are_turned_upright(orientation: int) -> None:
    stored = smooth(5, 7)
    expected = turned_upright(stored, orientation)
    for file in (
        encoded(stored, "PNG", exif=exif(orientation)),
        encoded(stored, "WEBP", lossless=True, exif=exif(orientation)),
    ):
        np.testing.assert_array_equal(decode(file), expected)


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize("size", [None, (24, 16)])
def test_jpegs_are_turned_upright_before_they_are_stretched(
    orientation: int, size: tuple[int, int] | None
) -> None:
    stored = smooth(160, 240)
    file = with_segment(encoded(stored, "JPEG", quality=95), 0xE1, b"Exif\0\0" + exif(orientation))
    upright = turned_upright(stored, orientation)
    expected = upright if size is None else np.asarray(Image.fromarray(upright).resize(size[::-1]))
    assert_close(decode(file, size), expected, 2)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_that_does_not_exist_is_upright(orientation: int) -> None:
    np.testing.assert_array_equal(decode(encoded(smooth(4, 6), "PNG", exif=exif(orientation))), smooth(4, 6))


def test_a_palette_is_looked_up_and_its_transparency_laid_over_white() -> None:
    palette = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    rows = bytes([0, 1, 1, 0])
    opaque = np.array([[[10, 20, 30], [200, 100, 50]], [[200, 100, 50], [10, 20, 30]]])
    np.testing.assert_array_equal(decode(png((2, 2), depth=8, colour=3, rows=rows, extra=palette)), opaque)
    see_through = palette + chunk(b"tRNS", bytes([0, 255]))
    opaque[0, 0] = opaque[1, 1] = 255
    np.testing.assert_array_equal(
        decode(png((2, 2), depth=8, colour=3, rows=rows, extra=see_through)), opaque
    )


def test_one_bit_pixels_are_black_and_white() -> None:
    expected = np.array([[[255], [0], [255], [0]], [[0], [0], [255], [255]]])
    file = png((4, 2), depth=1, colour=0, rows=bytes([0b1010_0000, 0b0011_0000]))
    np.testing.assert_array_equal(decode(file, grey=True), expected)


@pytest.mark.parametrize("colour", [4, 6], ids=["grey and alpha", "RGBA"])
@pytest.mark.parametrize("depth", [8, 16])
def test_transparency_is_laid_over_white(colour: int, depth: int) -> None:
    picture = smooth(6, 8, 4)[..., -2 if colour == 4 else -4 :]
    stored = picture if depth == 8 else picture.astype(">u2") * 257
    alpha = picture[..., -1:] / 255.0
    over_white = np.round(picture[..., :-1] * alpha + 255 * (1 - alpha))
    got = decode(png((8, 6), depth=depth, colour=colour, rows=stored.tobytes()))
    assert np.abs(got - over_white).max() <= 1


def test_a_transparent_colour_is_white() -> None:
    rows = bytes([1, 2, 3, 9, 9, 9])
    key = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    got = decode(png((2, 1), depth=8, colour=2, rows=rows, extra=key))
    np.testing.assert_array_equal(got, [[[255, 255, 255], [9, 9, 9]]])


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)], ids=["grey", "RGB"])
def test_sixteen_bits_are_scaled_to_eight(colour: int, channels: int) -> None:
    wide = np.random.default_rng(0).integers(0, 65_536, (6, 8, channels))
    got = decode(png((8, 6), depth=16, colour=colour, rows=wide.astype(">u2").tobytes()))
    assert np.abs(got - wide / 257).max() <= 1


def test_webp_lossless_is_exact_and_lossy_close() -> None:
    picture = smooth(24, 40)
    np.testing.assert_array_equal(decode(encoded(picture, "WEBP", lossless=True)), picture)
    assert_close(decode(encoded(picture, "WEBP", quality=95)), picture, 3)


def test_webp_transparency_is_laid_over_white() -> None:
    picture = smooth(6, 8, 4)
    alpha = picture[..., 3:] / 255.0
    expected = np.round(picture[..., :3] * alpha + 255 * (1 - alpha))
    got = decode(encoded(picture, "WEBP", lossless=True, exact=True))
    assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("image_format", ["WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    lossless = {"lossless": True} if image_format == "WEBP" else {}
    file = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], **lossless)
    np.testing.assert_array_equal(decode(file), np.full((8, 8, 3), (255, 0, 0)))


def test_of_several_pictures_in_a_jpeg_the_first_counts() -> None:
    file = encoded(smooth(16, 24), "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))], quality=95)
    assert_close(decode(file), smooth(16, 24), 1.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("grey", [False, True])
def test_the_thinnest_pictures_are_pictures(shape: tuple[int, int], image_format: str, grey: bool) -> None:
    file = encoded(np.full((*shape, 3), 128, np.uint8), image_format)
    assert decode(file, grey=grey).shape == (*shape, 1 if grey else 3)
    assert decode(file, (7, 5), grey=grey).shape == (7, 5, 1 if grey else 3)


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(96, 96), (31, 200), (300, 10)])
def test_stretching_is_pillows_own_to_the_bit(
    resize: Resize, image_format: str, size: tuple[int, int]
) -> None:
    file = encoded(draw_vehicle(1, 0), image_format)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[resize]
    expected = Image.open(BytesIO(file)).convert("RGB").resize(size[::-1], method)
    np.testing.assert_array_equal(decode(file, size, resize=resize), np.asarray(expected))


def test_large_jpegs_are_decoded_at_a_fraction_and_look_the_same() -> None:
    large = draw_vehicle(3, 1).resize((2400, 1800), Image.Resampling.BICUBIC)
    file = encoded(large, "JPEG", quality=90)
    got, whole = decode(file, (96, 96)), decode(file)
    expected = np.asarray(Image.fromarray(whole).resize((96, 96), Image.Resampling.BILINEAR))
    assert_close(got, expected, 2)
    assert not np.array_equal(got, expected)  # so it was not decoded in full


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, this is no picture", "text"),
        (b"  \r\n<!DOCTYPE html><html></html>", "an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00", "a GIF"),
        (b"BM\x00\x00\x00\x00\x00\x00", "a BMP"),
        (b"II*\x00\x08\x00\x00\x00", "a TIFF"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "a HEIC, AVIF or video file"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "an unknown format"),
        (bytes(range(128, 200)), "an unknown format"),
    ],
)
def test_what_is_no_jpeg_png_or_webp_is_named(data: bytes, message: str) -> None:
    for function in (decode, sniff):
        with pytest.raises(UnsupportedImageError, match=f"{message}.* Send a JPEG, PNG or WebP"):
            function(data)


def test_bytes_are_limited() -> None:
    file = encoded(smooth(8, 8), "PNG")
    assert decode(file, limits=ImageLimits(max_bytes=len(file))).shape == (8, 8, 3)
    with pytest.raises(ImageTooLargeError, match="Send a smaller file") as caught:
        decode(file, limits=ImageLimits(max_bytes=len(file) - 1))
    assert (caught.value.limit, caught.value.got) == (len(file) - 1, len(file))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_pixels_are_limited(image_format: str) -> None:
    file = encoded(smooth(10, 20), image_format)
    assert decode(file, limits=ImageLimits(max_pixels=200)).shape == (10, 20, 3)
    with pytest.raises(ImageTooLargeError, match="20 x 10 = 200 pixels and the limit is 199") as caught:
        decode(file, limits=ImageLimits(max_pixels=199))
    assert (caught.value.limit, caught.value.got) == (199, 200)
