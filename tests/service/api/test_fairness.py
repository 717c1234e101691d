"""One heavy request neither stalls the event loop nor takes memory without bound."""

import asyncio
import json
import time
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, pack, unpack

LARGEST_GAP_S = 0.3  # the machine's own hiccups included; what this guards against took seconds


async def largest_gap_during(app: FastAPI, *requests: dict[str, Any]) -> tuple[float, list[int]]:
    """Send requests one after the other; return the event loop's longest pause and the statuses."""
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - before)

    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client,
    ):
        ticking = asyncio.create_task(tick())
        statuses = [(await client.request(**request)).status_code for request in requests]
        ticking.cancel()
    return max(gaps), statuses


def test_large_bodies_and_answers_are_handled_off_the_event_loop(settings: Settings) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4000, 8)).astype(np.float32)
    made = {"method": "PUT", "url": "/v1/collections/c", "json": {"dimension": 8}}
    filled = {"method": "POST", "url": "/v1/collections/c/items", **pack({}, vector=vectors)}
    searched = {
        "method": "POST",
        "url": "/v1/collections/c/search",
        **pack({"k": 1000, "filter": {"or": [{"n": {"lt": n}} for n in range(200)]}}, queries=vectors[:100]),
    }
    as_json = json.dumps({"x": rng.normal(size=(300, 512)).tolist()}).encode()
    measured = {
        "method": "POST",
        "url": "/v1/distances",
        "content": as_json,
        "headers": {"content-type": "application/json"},
    }
    in_a_form = {"method": "POST", "url": "/v1/distances", "files": {"x": (None, as_json[6:-1].decode())}}
    everything = (made, filled, searched, measured, in_a_form)
    gap, statuses = asyncio.run(largest_gap_during(create_app(settings), *everything))
    assert statuses == [201, 200, 200, 200, 200]
    assert gap < LARGEST_GAP_S


def test_a_search_that_would_take_too_much_memory_is_refused(settings: Settings) -> None:
    tight = settings.model_copy(update={"max_work_bytes": 100_000})
    vectors = np.ones((50, 2), dtype=np.float32)
    with TestClient(create_app(tight)) as client:
        client.put("/v1/collections/c", json={"dimension": 2})
        unpack(client.post("/v1/collections/c/items", **pack({}, vector=vectors)))
        answer = client.post("/v1/collections/c/search", **pack({"k": 50}, queries=vectors))
        assert_problem(answer, 413, "too-large", "fewer queries")
        assert client.post("/v1/collections/c/search", json={"queries": [[1, 1]], "k": 50}).status_code == 200


def test_more_pictures_than_may_ever_wait_are_refused_for_good(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"max_waiting_images": 3}))) as client:
        answer = client.post("/v1/embeddings", json={"input": ["aGk="] * 4})
    assert_problem(answer, 413, "too-large", "several requests")
    assert "retry-after" not in answer.headers


def test_a_small_request_does_not_wait_for_a_heavy_one(settings: Settings) -> None:
    app = create_app(settings)

    async def both() -> tuple[float, float]:
        heavy = {
            "embeddings": np.random.default_rng(1).normal(size=(2000, 16)).tolist(),
            "labels": [row % 100 for row in range(2000)],
            "mining": "all",
            "margin": "soft",
        }
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client,
        ):
            started = time.perf_counter()
            long = asyncio.create_task(client.post("/v1/losses/batch", json=heavy, timeout=60))
            await asyncio.sleep(0.05)
            assert not long.done()
            small = await client.post("/v1/verify", json={"a": [0, 0], "b": [3, 4], "threshold": 1})
            answered = time.perf_counter() - started
            assert small.json()["distance"] == 5
            assert (await long).status_code == 200
            return answered, time.perf_counter() - started

    small_s, heavy_s = asyncio.run(both())
    assert small_s < heavy_s


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int8", "uint8", "int16", "int32", "int64"]
)
@pytest.mark.parametrize("other", ["float32", "uint16", "int32", "float64"])
def test_tensors_of_every_real_dtype_can_be_compared(stateless: TestClient, dtype: str, other: str) -> None:
    x, y = np.array([[0, 3]]).astype(dtype), np.array([[4, 0]]).astype(other)
    _, tensors = unpack(stateless.post("/v1/distances", **pack({}, x=x, y=y)))
    np.testing.assert_allclose(tensors["distances"], [[5]])


@pytest.mark.parametrize("dtype", ["complex64", "bool"])
def test_tensors_that_are_no_real_numbers_are_refused(client: TestClient, dtype: str) -> None:
    client.put("/v1/collections/c", json={"dimension": 2})
    rows = np.ones((1, 2), dtype=dtype)
    for path, field in (("items", "vector"), ("search", "queries")):
        answer = client.post(f"/v1/collections/c/{path}", **pack({}, **{field: rows}))
        assert_problem(answer, 400, "malformed-body", field, "real numbers")
    assert_problem(client.post("/v1/distances", **pack({}, x=rows)), 400, "malformed-body")


@pytest.mark.parametrize("shape", [(), (2,), (1, 1, 2), (0, 2), (1, 0)])
def test_tensors_of_the_wrong_shape_are_refused(client: TestClient, shape: tuple[int, ...]) -> None:
    client.put("/v1/collections/c", json={"dimension": 2})
    rows = np.ones(shape, dtype=np.float32)
    for path, field in [
        ("/v1/collections/c/search", "queries"),
        ("/v1/collections/c/items", "vector"),
        ("/v1/distances", "x"),
    ]:
        answer = client.post(path, **pack({}, **{field: rows}))
        assert answer.status_code == 422, (path, answer.text)
        assert field in answer.json()["errors"][0]["pointer"] or path.endswith("items"), answer.text
