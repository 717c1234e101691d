"""Work ends with the client that waited for it, queued or running, and its errors stay what they are."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple

import numpy as np
import pytest
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect

from models.errors import OptionError
from models.interruption import checkpoint
from service.api.attended import attended, awaited
from service.app import create_app
from service.errors import DeadlineError
from service.settings import Settings
from tests.service.api.wires import pack

PATIENCE_S = 30
Given = TypeVarTuple("Given")


class Client:
    """A client's end of a request: what it sends, and when it leaves."""

    def __init__(self, *, body: bytes = b"") -> None:
        self._left = asyncio.Event()
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    def leave(self) -> None:
        self._left.set()

    def has_sent(self) -> bool:
        return not self._messages

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def post(self, app: FastAPI, path: str) -> None:
        """Send it as JSON, and expect no answer: the client leaves before."""
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}

        async def send(message: object) -> None:
            raise AssertionError(f"nobody is there for {message}")

        await app(scope, self.receive, send)

    async def request(self) -> Request:
        """Return the request as a route has it: its body is read."""
        request = Request({"type": "http", "headers": []}, self.receive)
        await request.body()
        return request


class Computation:
    """Work that goes on until it is stopped, and keeps a diary."""

    def __init__(self) -> None:
        self.started = self.ended = False

    def __call__(self) -> None:
        self.started = True
        try:
            while True:
                checkpoint()
                time.sleep(0.001)
        finally:
            self.ended = True


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - it happens in threads, which set no events of the loop
            await asyncio.sleep(0.001)


def test_a_computation_stops_when_its_client_leaves() -> None:
    async def scenario() -> None:
        before, limiter, client, work = asyncio.all_tasks(), CapacityLimiter(1), Client(), Computation()
        task = asyncio.create_task(attended(await client.request(), work, limiter))
        await until(lambda: work.started)
        client.leave()
        with pytest.raises(ClientDisconnect):
            await task
        assert work.ended
        assert limiter.borrowed_tokens == 0
        assert asyncio.all_tasks() == before

    asyncio.run(scenario())


def test_a_queued_computation_never_starts_once_its_client_has_left() -> None:
    async def scenario() -> None:
        limiter, first, second = CapacityLimiter(1), Client(), Client()
        running, queued = Computation(), Computation()
        long = asyncio.create_task(attended(await first.request(), running, limiter))
        await until(lambda: running.started)
        waiting = asyncio.create_task(attended(await second.request(), queued, limiter))
        await until(lambda: limiter.statistics().tasks_waiting == 1)
        second.leave()
        with pytest.raises(ClientDisconnect):
            await waiting
        assert limiter.statistics().tasks_waiting == 0
        assert not running.ended  # the first did not mind
        first.leave()
        with pytest.raises(ClientDisconnect):
            await long
        assert not queued.started

    asyncio.run(scenario())


def test_work_that_never_asks_runs_to_its_end_and_keeps_its_place_until_then() -> None:
    async def scenario() -> None:
        limiter, client, may_end, started = CapacityLimiter(1), Client(), threading.Event(), threading.Event()

        def stubborn() -> str:
            started.set()
            may_end.wait(PATIENCE_S)
            return "an answer"

        task = asyncio.create_task(attended(await client.request(), stubborn, limiter))
        await until(started.is_set)
        client.leave()
        await asyncio.sleep(0.05)
        assert limiter.borrowed_tokens == 1
        assert not task.done()
        may_end.set()
        with pytest.raises(ClientDisconnect):
            await task
        assert limiter.borrowed_tokens == 0

    asyncio.run(scenario())


def test_who_leaves_after_the_deadline_was_late() -> None:
    async def scenario() -> None:
        client, may_end, clock = Client(), threading.Event(), asyncio.get_running_loop().time
        request = await client.request()
        request.state.deadline = clock() + 0.05
        work = asyncio.create_task(attended(request, lambda: may_end.wait(PATIENCE_S), CapacityLimiter(1)))
        await until(lambda: clock() > request.state.deadline)
        await asyncio.sleep(0)
        client.leave()
        await asyncio.sleep(0.01)
        may_end.set()
        with pytest.raises(DeadlineError):
            await work

    asyncio.run(scenario())


class HastyLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers come early, as uvloop's do by up to a millisecond."""

    def call_at(
        self, when: float, callback: Callable[[*Given], object], *args: *Given, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when - 0.02, callback, *args, context=context)


def test_no_deadline_passes_before_its_time() -> None:
    async def scenario() -> None:
        clock, ended = asyncio.get_running_loop().time, []
        request = await Client().request()
        request.state.deadline = clock() + 0.05

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(clock())

        with pytest.raises(DeadlineError):
            await awaited(request, work())
        assert ended[0] >= request.state.deadline

    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        runner.run(scenario())


def test_a_client_that_stays_gets_the_answer_or_the_error_as_it_is() -> None:
    async def scenario() -> None:
        before, limiter = asyncio.all_tasks(), CapacityLimiter(1)

        def failing() -> None:
            raise OptionError("Options do not fit.", argument="p") from cause

        cause = KeyError("p")
        assert await attended(await Client().request(), lambda: 7, limiter) == 7
        with pytest.raises(OptionError, match="do not fit") as caught:
            await attended(await Client().request(), failing, limiter)
        assert caught.value.__cause__ is cause
        await asyncio.sleep(0)  # who watched the client ends in the loop's next turn
        assert asyncio.all_tasks() == before

    asyncio.run(scenario())


def test_a_computation_stops_when_a_shutdown_cancels_its_request() -> None:
    async def scenario() -> None:
        before, limiter, work = asyncio.all_tasks(), CapacityLimiter(1), Computation()
        task = asyncio.create_task(attended(await Client().request(), work, limiter))
        await until(lambda: work.started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: work.ended)
        assert limiter.borrowed_tokens == 0
        assert asyncio.all_tasks() == before

    asyncio.run(scenario())


def lengthy_loss() -> bytes:
    """Return a request whose soft batch-all loss takes minutes."""
    embeddings = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    fields = {"mining": "all", "margin": "soft"}
    content: bytes = pack(fields, embeddings=embeddings, labels=np.arange(20_000) % 100)["content"]
    return content


async def post_loss(app: FastAPI, client: Client) -> list[Any]:
    """Send the client's loss; return the messages of the answer."""
    sent: list[Any] = []

    async def send(message: object) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-safetensors")]
    path = {"path": "/v1/losses/batch", "query_string": b"", "headers": headers}
    await app({"type": "http", "method": "POST", **path}, client.receive, send)
    return sent


def test_a_loss_ends_when_its_client_leaves_and_is_logged_as_499(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app, content = create_app(settings), lengthy_loss()

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            numeric, client = app.state.services.numeric, Client(body=content)
            task = asyncio.create_task(post_loss(app, client))
            await until(lambda: numeric.borrowed_tokens == 1)
            client.leave()
            async with asyncio.timeout(PATIENCE_S):
                assert await task == []
            assert numeric.borrowed_tokens == 0

    with caplog.at_level(logging.INFO, "lookalike.access"):
        asyncio.run(serve())
    assert "POST /v1/losses/batch -> 499" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
