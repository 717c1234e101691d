"""The process around the application."""

import asyncio
import gc
import threading

import uvicorn
from starlette.applications import Starlette

from service.server import Server


def test_what_is_there_after_the_start_is_left_alone_by_the_garbage_collector() -> None:
    server = Server(
        uvicorn.Config(Starlette(), port=0, log_config=None), drain=threading.Event(), drain_s=0.0
    )

    async def scenario() -> int:
        running = asyncio.create_task(server.serve())
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        frozen = gc.get_freeze_count()
        server.should_exit = True
        await running
        return frozen

    assert gc.get_freeze_count() == 0
    try:
        assert asyncio.run(scenario()) > 10_000
    finally:
        gc.unfreeze()
