"""Pixels are those that a request gives, all at once or batch by batch, whatever the threads do."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from models.datasets import ImageSet, Pictures, check_pictures, load_pixels
from models.errors import DatasetError
from models.images import decode
from models.manifest import InputSpec
from tests.models.datasets.fakes import as_set, picture

SPEC = InputSpec(height=5, width=7, mean=(0,) * 3, std=(1,) * 3)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    return as_set(picture(tmp_path / f"{n}.png", n, size=(9, 8)) for n in range(10))


def expected(images: ImageSet) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return every picture as a plain loop decodes it."""
    return np.stack([decode(sample.path.read_bytes(), (5, 7)) for sample in images.samples])


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize("threads", [1, 3])
def test_all_pixels_are_those_that_a_request_gives(images: ImageSet, threads: int) -> None:
    np.testing.assert_array_equal(load_pixels(images, SPEC, threads=threads), expected(images))


def test_grey_encoders_get_grey_pixels(images: ImageSet) -> None:
    spec = InputSpec(height=5, width=7, channels="grey", mean=(0,), std=(1,))
    pixels = load_pixels(images, spec)
    assert pixels.shape == (10, 5, 7, 1)
    with Pictures(images, spec) as pictures:
        np.testing.assert_array_equal(pictures.rows([9, 0]), pixels[[9, 0]])


def test_damaged_pictures_are_counted_and_twenty_named(images: ImageSet) -> None:
    for number in (7, 3):
        damage(images.samples[number].path)
    for decode_all in (load_pixels, check_pictures):
        with pytest.raises(DatasetError, match=r"^2 of 10 pictures of fake/train cannot be used:") as refused:
            decode_all(images, SPEC, threads=4)
        _, first, second = str(refused.value).splitlines()
        assert "3.png: The PNG is damaged" in first
        assert "7.png: The PNG is damaged" in second
    with pytest.raises(DatasetError, match=r"^24 of 120 pictures") as refused:
        load_pixels(ImageSet("many", "train", images.samples * 12), SPEC)
    assert len(str(refused.value).splitlines()) == 22
    assert str(refused.value).endswith("\n... and 4 more.")


def test_a_sound_set_passes_the_check(images: ImageSet) -> None:
    check_pictures(images, SPEC)
    images.samples[0].path.unlink()
    with pytest.raises(DatasetError, match=r"^1 of 10 .*\n.*0\.png: No such file or directory\.$"):
        check_pictures(images, SPEC)


def test_a_picture_over_the_limits_is_not_called_damaged(images: ImageSet) -> None:
    images.samples[1].path.write_bytes(bytes(21 * 2**20))
    with pytest.raises(DatasetError, match=r"1\.png: The image has 22,020,096 bytes and the limit"):
        load_pixels(images, SPEC)


def test_long_loads_say_how_far_they_are(images: ImageSet, caplog: pytest.LogCaptureFixture) -> None:
    many = ImageSet("many", "train", images.samples * 1300)
    with caplog.at_level(logging.INFO):
        load_pixels(images, SPEC)
        assert not caplog.messages
        load_pixels(many, SPEC)
    assert caplog.messages == ["decoding many/train: 49 %", "decoding many/train: 98 %"]


def test_a_terminal_gets_a_bar(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # how rich is told that a stream is a terminal
    load_pixels(images, SPEC)
    assert "decoding fake/train" in capsys.readouterr().err


def test_batches_are_rows_of_all_pixels(images: ImageSet) -> None:
    pixels = expected(images)
    rng = np.random.default_rng(0)
    with Pictures(images, SPEC, threads=3) as pictures:
        assert len(pictures) == 10
        for _ in range(10):
            batch = rng.integers(0, 10, 6)
            pictures.prefetch(rng.integers(0, 10, 6))
            np.testing.assert_array_equal(pictures.rows(batch), pixels[batch])


def test_a_batch_is_the_caller_s_own(images: ImageSet) -> None:
    pixels = expected(images)
    with Pictures(images, SPEC) as pictures:
        pictures.rows([0, 1])[:] = 0
        np.testing.assert_array_equal(pictures.rows([0, 1]), pixels[:2])


def test_pictures_are_decoded_at_each_use(images: ImageSet) -> None:
    with Pictures(images, SPEC) as pictures:
        pictures.rows([4])
        images.samples[4].path.unlink()
        with pytest.raises(DatasetError, match=r"4\.png: No such file"):
            pictures.rows([4])


def test_the_next_batch_is_decoded_ahead(images: ImageSet) -> None:
    pixels = expected(images)
    with Pictures(images, SPEC, threads=1) as pictures:
        pictures.prefetch([6, 7])
        pictures.rows([1])  # the one thread takes these after the others
        for number in (6, 7):
            images.samples[number].path.unlink()
        np.testing.assert_array_equal(pictures.rows([7, 6, 7]), pixels[[7, 6, 7]])


def test_only_the_latest_batch_ahead_is_kept(images: ImageSet) -> None:
    with Pictures(images, SPEC, threads=1) as pictures:
        pictures.prefetch([6])
        pictures.prefetch([7])
        pictures.rows([7])
        images.samples[6].path.unlink()
        with pytest.raises(DatasetError, match=r"6\.png"):
            pictures.rows([6])


def test_the_first_damaged_picture_is_named_whatever_the_threads_do(images: ImageSet) -> None:
    for number in (8, 2, 5):
        damage(images.samples[number].path)
    with Pictures(images, SPEC, threads=4) as pictures:
        for ahead in ([8, 5], [5, 2, 8], [0]):
            pictures.prefetch(ahead)
            with pytest.raises(DatasetError, match=r"2\.png: The PNG is damaged"):
                pictures.rows([8, 1, 5, 2])
        np.testing.assert_array_equal(pictures.rows([0]), expected(images.subset([0], split="one")))


def test_threads_end_with_the_block(images: ImageSet) -> None:
    def ours() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("pictures")]

    with Pictures(images, SPEC) as pictures:
        pictures.prefetch(range(10))
        assert ours()
    assert not ours()
    load_pixels(images, SPEC)
    assert not ours()
