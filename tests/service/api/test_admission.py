"""Pictures whose turn would come too late are refused at once, and say when to come back."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from service.api import access_log
from service.app import create_app
from service.encoder import HostedEncoder
from service.settings import Settings
from tests.service.api.test_attended import until
from tests.service.api.test_deadlines import Hold
from tests.service.api.wires import assert_problem, data_uri

PATIENCE_S = 20
SLOW_S = 0.4  # that the first picture takes


async def answered(app: FastAPI, path: str, headers: dict[str, str]) -> tuple[int, int]:
    """Return the status of a POST and how often its body was asked for."""
    asked = 0
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    listed = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": listed}
    await app(scope, receive, send)
    return statuses[0], asked


def busy(scenario: Callable[..., Any], settings: Settings, picture: Callable[..., bytes]) -> None:
    """Run a scenario on a server whose encoder is slow, and holds six requests of one picture each."""
    hold = Hold()
    app = create_app(settings, load=hold)

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            encoder: HostedEncoder = app.state.services.encoder
            first = asyncio.create_task(encoder.embed([picture()]))
            await until(hold.entered.is_set)
            await asyncio.sleep(SLOW_S)
            hold.free.set()
            await first
            hold.free.clear()
            waiting = [asyncio.create_task(encoder.embed([picture()])) for _ in range(6)]
            await until(lambda: encoder.waiting == 6)
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                await scenario(app, client)
            hold.free.set()
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*waiting)
            assert encoder.admission.wait_before(1) == 0

    asyncio.run(serve())


def test_late_pictures_are_refused_and_told_when_to_come_back(
    settings: Settings, picture: Callable[..., bytes]
) -> None:
    async def scenario(app: FastAPI, client: httpx2.AsyncClient) -> None:
        wait = app.state.services.encoder.admission.wait_before(1)
        assert wait >= 0.9 * 6 * SLOW_S  # and what decoding and waking take
        headers = {
            "X-Deadline-Ms": str(int(2000 * wait))
        }  # of which a third may pass before they have a turn
        answer = await client.post("/v1/embeddings", json={"input": data_uri(picture())}, headers=headers)
        assert_problem(answer, 429, "overloaded", "too much for a deadline")
        assert 1 <= int(answer.headers["retry-after"]) <= wait
        text = (await client.get("/metrics")).text
        assert 'lookalike_rejected_images_total{encoder="tiny",reason="too_late"} 1.0' in text
        assert 'lookalike_rejected_requests_total{reason="overloaded"} 1.0' in text

    busy(scenario, settings, picture)


def test_their_body_is_not_even_read(settings: Settings, picture: Callable[..., bytes]) -> None:
    async def scenario(app: FastAPI, client: httpx2.AsyncClient) -> None:
        soon = {"x-deadline-ms": "500"}
        assert await answered(app, "/v1/embeddings", soon) == (429, 0)
        assert await answered(app, "/v1/collections/c/search", {"content-type": "image/png", **soon}) == (
            429,
            0,
        )
        status, asked = await answered(
            app, "/v1/collections/c/search", soon
        )  # vectors, for all that is known
        assert status in {404, 422}
        assert asked > 0

    busy(scenario, settings, picture)


def test_of_a_flood_of_refusals_the_log_has_the_first_few_and_a_number(
    settings: Settings,
    picture: Callable[..., bytes],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(app: FastAPI, client: httpx2.AsyncClient) -> None:
        for _ in range(25):
            assert await answered(app, "/v1/embeddings", {"x-deadline-ms": "500"}) == (429, 0)
        lines = [one.getMessage() for one in caplog.records]
        assert [line[:27] for line in lines] == ["POST /v1/embeddings -> 429 "] * 10
        await until(lambda: len(caplog.records) > 10)
        assert caplog.records[10].getMessage() == "15 more requests were refused within a second."
        await answered(app, "/v1/embeddings", {"x-deadline-ms": "500"})
        assert "-> 429" in caplog.records[11].getMessage()

    monkeypatch.setattr(access_log, "_EVERY_S", 3.0)  # in which 25 refusals fit on any machine
    with caplog.at_level(logging.INFO, "lookalike.access"):
        busy(scenario, settings, picture)


def test_who_has_time_or_brings_no_picture_is_let_in(
    settings: Settings, picture: Callable[..., bytes]
) -> None:
    async def scenario(app: FastAPI, client: httpx2.AsyncClient) -> None:
        distances = await client.post(
            "/v1/distances", json={"x": [[0, 0], [3, 4]]}, headers={"X-Deadline-Ms": "5000"}
        )
        assert distances.status_code == 200
        encoder = app.state.services.encoder
        for headers in ({}, {"X-Deadline-Ms": "60000"}):
            asking = asyncio.create_task(
                client.post("/v1/embeddings", json={"input": data_uri(picture())}, headers=headers)
            )
            await until(lambda: encoder.waiting == 7)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: encoder.waiting == 6)

    busy(scenario, settings, picture)


def test_one_picture_waits_for_a_turn_of_a_bulk_and_not_for_all_of_it(
    settings: Settings, picture: Callable[..., bytes]
) -> None:
    async def scenario(app: FastAPI, client: httpx2.AsyncClient) -> None:
        encoder: HostedEncoder = app.state.services.encoder
        before = encoder.admission.wait_before(1)
        bulk = asyncio.create_task(encoder.embed([picture()] * 50))
        await until(lambda: encoder.waiting == 56)
        assert encoder.admission.wait_before(1) == pytest.approx(before * 7 / 6)
        assert encoder.admission.wait_before(50) == pytest.approx(before * 56 / 6)
        bulk.cancel()
        await asyncio.gather(bulk, return_exceptions=True)

    busy(scenario, settings, picture)
