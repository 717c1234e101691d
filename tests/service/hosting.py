"""Encoders hosted without a server, and waiting for what nobody tells."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio import to_thread

from models.images import ImageLimits
from models.runtime import Encoder
from service.admission import WaitingLimits
from service.batch_size import BatchLimits
from service.encoder import HostingLimits
from service.encoders import HostedEncoders
from service.telemetry import Telemetry

__all__ = ["hosting", "until"]


@asynccontextmanager
async def hosting(load: Callable[[Path], Encoder], compare: Any) -> AsyncIterator[HostedEncoders]:
    limits = HostingLimits(BatchLimits(4, 1.0, 20), ImageLimits(), 1, WaitingLimits(100, 10_000_000))
    hosted = HostedEncoders(load=load, limits=limits, telemetry=Telemetry(), compare=compare)
    try:
        yield hosted
    finally:
        await hosted.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait, at most as long as a test may take, until something holds."""
    async with asyncio.timeout(60):
        while not await to_thread.run_sync(holds):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
