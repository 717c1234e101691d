"""The hosted encoder: every picture gets its own result, and nothing waits without bound."""

from collections.abc import Callable
from pathlib import Path

import anyio
import numpy as np
import pytest

from models.errors import DamagedImageError, ImageTooLargeError, UnsupportedImageError
from models.images import ImageLimits
from models.runtime import load_encoder
from service.encoder import HostedEncoder
from service.errors import OverloadedError

Draw = Callable[..., bytes]


def hosted(bundle: Path, *, max_waiting: int = 100, max_pixels: int = 100_000) -> HostedEncoder:
    return HostedEncoder(
        load_encoder(bundle),
        limits=ImageLimits(max_pixels=max_pixels),
        decoders=2,
        max_batch=4,
        max_waiting=max_waiting,
    )


def test_bad_pictures_are_their_own_errors_in_their_own_places(bundle: Path, picture: Draw) -> None:
    encoder = hosted(bundle, max_pixels=5000)
    large = picture(1)  # 80 x 60 = 4800 pixels fit
    results = anyio.run(encoder.embed, [picture(0), b"text", large, picture(2)[:200], picture(0)])
    assert isinstance(results[1], UnsupportedImageError)
    assert isinstance(results[3], DamagedImageError)
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[4], np.ndarray)
    np.testing.assert_allclose(results[0], results[4], atol=1e-6)
    tight = hosted(bundle, max_pixels=4799)
    assert isinstance(anyio.run(tight.embed, [large])[0], ImageTooLargeError)
    for one in (encoder, tight):
        one.close()


def test_concurrent_requests_get_their_own_answers(bundle: Path, picture: Draw) -> None:
    encoder = hosted(bundle)
    files = [picture(identity) for identity in range(6)]

    async def ask_all() -> None:
        expected = await encoder.embed(files)

        async def ask(position: int) -> None:
            (result,) = await encoder.embed([files[position]])
            np.testing.assert_allclose(result, expected[position], atol=1e-5)  # type: ignore[arg-type]

        async with anyio.create_task_group() as tasks:
            for position in range(6):
                tasks.start_soon(ask, position)

    anyio.run(ask_all)
    encoder.close()


def test_more_than_may_wait_is_refused_at_once_and_later_accepted(bundle: Path, picture: Draw) -> None:
    encoder = hosted(bundle, max_waiting=5)
    files = [picture(identity) for identity in range(5)]

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(encoder.embed, files)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(OverloadedError, match="5 pictures are waiting"):
                await encoder.embed(files[:1])
        assert len(await encoder.embed(files)) == 5

    anyio.run(ask_all)
    encoder.close()
