"""The process around the application."""

import asyncio
import gc
import threading
from concurrent.futures import Future

import pytest
import uvicorn
from starlette.applications import Starlette

from service.gallery.opening import Outcome
from service.server import Server


def server_of(opened: "Future[Outcome]") -> Server:
    config = uvicorn.Config(Starlette(), port=0, log_config=None)
    return Server(config, drain=threading.Event(), drain_s=0.0, opened=opened)


def test_what_is_there_after_the_start_is_left_alone_by_the_garbage_collector() -> None:
    server = server_of(Future())

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

    gc.unfreeze()  # what the tests' own conftest.py froze
    assert asyncio.run(scenario()) > 10_000


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(3), "Ready. Collections: 3."),
        (Outcome(2, ("people",)), "Ready. Collections: 2; not opened: people."),
        (Outcome(0, ("cars", "people")), "Ready. Collections: 0; not opened: cars, people."),
    ],
)
def test_it_says_when_all_collections_are_open(
    caplog: pytest.LogCaptureFixture, outcome: Outcome, words: str
) -> None:
    opened: Future[Outcome] = Future()
    server = server_of(opened)
    caplog.set_level("INFO", "lookalike")
    asyncio.run(server.on_tick(1))
    assert "Ready" not in caplog.text
    opened.set_result(outcome)
    for counter in range(2):
        assert not asyncio.run(server.on_tick(counter))
    assert caplog.messages == [words]


def test_it_stops_where_opening_breaks_down(caplog: pytest.LogCaptureFixture) -> None:
    opened: Future[Outcome] = Future()
    opened.set_exception(KeyError("our fault"))
    assert asyncio.run(server_of(opened).on_tick(1))
    assert "the server stops" in caplog.text


def test_one_that_is_stopped_while_it_opens_is_not_ready_and_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened: Future[Outcome] = Future()
    opened.cancel()
    caplog.set_level("INFO", "lookalike")
    assert not asyncio.run(server_of(opened).on_tick(1))
    assert caplog.text == ""
