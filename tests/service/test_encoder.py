"""The hosted encoder: every picture gets its own result, and nothing waits without bound."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import numpy as np
import pytest

from models.engines import Embeddings
from models.errors import DamagedImageError, ImageTooLargeError, UnsupportedImageError
from models.images import ImageLimits, Pixels
from models.runtime import Encoder, load_encoder
from service.admission import WaitingLimits
from service.batch_size import BatchLimits
from service.encoder import HostedEncoder, HostingLimits
from service.errors import EncoderFailedError, OverloadedError, TooLargeError
from service.telemetry import Telemetry

Draw = Callable[..., bytes]
Host = Callable[..., HostedEncoder]

PATIENCE_S = 20


@pytest.fixture
def host(bundle: Path) -> Iterator[Host]:
    """Return a function that hosts the small encoder; what it has hosted is closed at the end."""
    hosted = []

    def start(
        *,
        waiting_images: int = 100,
        waiting_bytes: int = 10_000_000,
        max_pixels: int = 100_000,
        timeout_s: float = PATIENCE_S,
        encoder: Encoder | None = None,
        telemetry: Telemetry | None = None,
    ) -> HostedEncoder:
        one = HostedEncoder(
            encoder or load_encoder(bundle),
            reload=lambda: load_encoder(bundle),
            limits=HostingLimits(
                batch=BatchLimits(4, 1.0, timeout_s),
                images=ImageLimits(max_pixels=max_pixels),
                decoders=2,
                waiting=WaitingLimits(waiting_images, waiting_bytes),
            ),
            telemetry=telemetry or Telemetry(),
        )
        hosted.append(one)
        return one

    yield start
    for one in hosted:
        anyio.run(one.close)


class Held:
    """An engine that waits until it is let go, and counts what it embeds."""

    name = "held"
    device = "cpu"
    lanes = 1

    def __init__(self, bundle: Path) -> None:
        self._inner = load_encoder(bundle).engine
        self.free = threading.Event()
        self.entered = threading.Event()
        self.pictures = 0
        self.alone: list[bool] = []

    def run(self, pixels: Pixels, *, alone: bool = True) -> Embeddings:
        """Embed as the real one does."""
        self.pictures += len(pixels)
        self.alone.append(alone)
        self.entered.set()
        assert self.free.wait(PATIENCE_S)
        return self._inner.run(pixels, alone=alone)


def test_bad_pictures_are_their_own_errors_in_their_own_places(host: Host, picture: Draw) -> None:
    encoder = host(max_pixels=5000)
    large = picture(1)  # 80 x 60 = 4800 pixels fit
    results = anyio.run(encoder.embed, [picture(0), b"text", large, picture(2)[:200], picture(0)])
    assert isinstance(results[1], UnsupportedImageError)
    assert isinstance(results[3], DamagedImageError)
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[4], np.ndarray)
    np.testing.assert_allclose(results[0], results[4], atol=1e-6)
    tight = host(max_pixels=4799)
    assert isinstance(anyio.run(tight.embed, [large])[0], ImageTooLargeError)


def test_concurrent_requests_get_their_own_answers(host: Host, picture: Draw) -> None:
    encoder = host()
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


def test_more_than_may_wait_is_refused_at_once_and_later_accepted(
    host: Host, bundle: Path, picture: Draw
) -> None:
    engine = Held(bundle)
    encoder = host(encoder=Encoder(load_encoder(bundle).manifest, engine), waiting_images=5)
    files = [picture(identity) for identity in range(5)]

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(encoder.embed, files)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(OverloadedError, match="5 pictures are waiting"):
                await encoder.embed(files[:1])
            engine.free.set()
        assert len(await encoder.embed(files)) == 5

    anyio.run(ask_all)


def test_more_than_may_ever_wait_is_refused_for_good(host: Host, picture: Draw) -> None:
    file = picture()
    for encoder in (host(waiting_images=2), host(waiting_bytes=3 * len(file) - 1)):
        with pytest.raises(TooLargeError, match="in several requests"):
            anyio.run(encoder.embed, [file] * 3)
        assert len(anyio.run(encoder.embed, [file] * 2)) == 2


def test_bytes_that_wait_are_bounded_too(host: Host, bundle: Path, picture: Draw) -> None:
    file, engine = picture(), Held(bundle)
    manifest = load_encoder(bundle).manifest
    encoder = host(encoder=Encoder(manifest, engine), waiting_bytes=3 * len(file))

    async def scenario() -> None:
        waiting = asyncio.create_task(encoder.embed([file] * 3))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match=f"3 pictures are waiting .* {3 * len(file):,} bytes"):
            await encoder.embed([file])
        engine.free.set()
        assert len(await waiting) == 3
        assert len(await encoder.embed([file])) == 1

    asyncio.run(scenario())


def test_what_nobody_waits_for_is_dropped_and_counted(host: Host, bundle: Path, picture: Draw) -> None:
    engine, telemetry = Held(bundle), Telemetry()
    encoder = host(encoder=Encoder(load_encoder(bundle).manifest, engine), telemetry=telemetry)

    async def scenario() -> None:
        running = asyncio.create_task(encoder.embed([picture(0)]))
        assert await asyncio.to_thread(engine.entered.wait, PATIENCE_S)
        leaving = [asyncio.create_task(encoder.embed([picture(1)] * 3)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        assert await asyncio.gather(*leaving, return_exceptions=True)
        assert all(task.cancelled() for task in leaving)
        engine.free.set()
        async with asyncio.timeout(PATIENCE_S):
            while encoder.waiting:  # noqa: ASYNC110 - decoders have some in their hands, and tell nobody
                await asyncio.sleep(0.001)
        assert len(await running) == 1
        assert len(await encoder.embed([picture(2)])) == 1
        assert not encoder.busy

    asyncio.run(scenario())
    dropped = telemetry.registry.get_sample_value("lookalike_dropped_images_total", {"encoder": "tiny"})
    assert dropped == 30
    assert engine.pictures == 2
    for gauge in ("images", "bytes"):
        assert telemetry.registry.get_sample_value(f"lookalike_waiting_{gauge}", {"encoder": "tiny"}) == 0


@pytest.mark.parametrize(("lanes", "decoders"), [(1, 2), (2, 0)])
def test_where_every_processor_has_a_lane_nobody_else_decodes(
    host: Host, bundle: Path, picture: Draw, lanes: int, decoders: int
) -> None:
    expected = anyio.run(host().embed, [picture(0), picture(1)])
    before = set(threading.enumerate())
    engine = Held(bundle)
    engine.lanes = lanes
    engine.free.set()
    encoder = host(encoder=Encoder(load_encoder(bundle).manifest, engine))

    started = [thread.name for thread in threading.enumerate() if thread not in before]
    assert sum(name.startswith("decoder") for name in started) == decoders
    got = anyio.run(encoder.embed, [picture(0), b"text", picture(1)])
    np.testing.assert_allclose([got[0], got[2]], expected, atol=1e-6)  # type: ignore[arg-type]
    assert isinstance(got[1], UnsupportedImageError)


def test_all_processors_compute_a_picture_only_where_no_other_waits(
    host: Host, bundle: Path, picture: Draw
) -> None:
    engine = Held(bundle)
    encoder = host(encoder=Encoder(load_encoder(bundle).manifest, engine))

    async def scenario() -> None:
        first = asyncio.create_task(encoder.embed([picture(0)]))
        assert await asyncio.to_thread(engine.entered.wait, PATIENCE_S)
        others = [asyncio.create_task(encoder.embed([picture(1)])) for _ in range(9)]
        await asyncio.sleep(0)
        engine.free.set()
        await asyncio.gather(first, *others)
        await encoder.embed([picture(2)])

    asyncio.run(scenario())
    assert engine.alone[0] is True
    assert engine.alone[-1] is True
    assert engine.alone[1] is False  # of nine, at most four fit into a batch


def test_an_encoder_that_hangs_is_loaded_again_and_the_service_goes_on(
    host: Host, bundle: Path, picture: Draw
) -> None:
    engine = Held(bundle)
    encoder = host(encoder=Encoder(load_encoder(bundle).manifest, engine), timeout_s=2)

    async def scenario() -> None:
        with pytest.raises(EncoderFailedError, match="did not answer within"):
            await encoder.embed([picture()])
        (found,) = await encoder.embed([picture()])
        assert isinstance(found, np.ndarray)

    asyncio.run(scenario())
    engine.free.set()


def test_every_stage_is_counted_and_timed(host: Host, picture: Draw) -> None:
    telemetry = Telemetry()
    encoder = host(telemetry=telemetry)

    anyio.run(encoder.embed, [picture(0), b"text", picture(1)])

    def value(name: str, **labels: str) -> float:
        found = telemetry.registry.get_sample_value(f"lookalike_{name}", {"encoder": "tiny", **labels})
        assert found is not None
        return found

    assert value("decode_seconds_count") == 2
    assert value("encode_wait_seconds_count") == 2
    assert value("batch_size_sum") == 2
    assert value("encode_seconds_count") == value("batch_size_count") in (1, 2)


def test_a_closed_encoder_answers_nobody_for_ever(host: Host, picture: Draw) -> None:
    encoder = host()

    async def scenario() -> None:
        await encoder.close()
        with pytest.raises(EncoderFailedError, match="closed"):
            await encoder.embed([picture()])

    asyncio.run(scenario())


def test_what_was_closed_lets_go_of_its_engine_at_once(host: Host, bundle: Path) -> None:
    encoder = load_encoder(bundle)
    engine = weakref.ref(encoder.engine)
    hosted = host(encoder=encoder)
    anyio.run(hosted.check)
    del encoder
    gc.disable()  # the engine's memory must not wait for the collector
    try:
        assert engine() is not None
        anyio.run(hosted.close)
        assert engine() is None
    finally:
        gc.enable()
    assert hosted.engine.name == "pytorch"
