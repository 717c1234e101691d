"""One heavy request neither stalls the event loop nor takes memory without bound."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.state import Services
from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, data_uri, pack, unpack

PATIENCE_S = 60

# Each of them takes time that grows with the request or the answer.
HEAVY = {
    "_from_form",
    "_json",
    "_from_json",
    "_match",
    "_numbers",
    "_rows",
    "_search",
    "_to_json",
    "_to_safetensors",
    "_image_bytes",
    "parse_filter",
    "pairwise",
    "upsert",
    "validate",
}


async def called_on_the_loop(app: FastAPI, *requests: dict[str, Any]) -> tuple[set[str], list[int]]:
    """Send requests; return our functions that ran in the event loop's thread, and the statuses."""
    called: set[str] = set()

    def record(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith(("models.", "service.")):
            called.add(frame.f_code.co_name)

    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client,
    ):
        sys.setprofile(record)
        try:
            statuses = [(await client.request(**request)).status_code for request in requests]
        finally:
            sys.setprofile(None)
    return called, statuses


def test_large_bodies_and_answers_are_handled_off_the_event_loop(
    settings: Settings, picture: Callable[..., bytes]
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1000, 16)).astype(np.float32)
    numbers = json.dumps({"x": vectors.tolist()}).encode()
    items = "/v1/collections/c/items"
    as_json = {"headers": {"content-type": "application/json"}}
    mixed = {
        "items": [{"image": data_uri(picture())}, *({"vector": row} for row in vectors.tolist())],
        "on_error": "abort",
    }
    search = {"k": 100, "filter": {"or": [{"n": {"lt": n}} for n in range(200)]}}
    names = {"k": 100, "include": []}
    requests = [
        {"method": "PUT", "url": "/v1/collections/c"},
        {"method": "POST", "url": items, **pack({}, vector=vectors)},
        {
            "method": "POST",
            "url": "/v1/collections/c/items",
            "content": json.dumps(mixed).encode(),
            **as_json,
        },
        {"method": "POST", "url": "/v1/collections/c/search", **pack(search, queries=vectors[:100])},
        {"method": "POST", "url": "/v1/collections/c/search", **pack(names, queries=vectors[:100])},
        {"method": "POST", "url": "/v1/distances", "content": numbers, **as_json},
        {"method": "POST", "url": "/v1/distances", "files": {"x": (None, numbers[6:-1].decode())}},
    ]
    called, statuses = asyncio.run(called_on_the_loop(create_app(settings), *requests))
    assert statuses == [201, 200, 200, 200, 200, 200, 200]
    assert {"read", "respond", "resolve"} <= called  # the recording works: these are coroutines of the loop
    # The first request has no body, and small ones are parsed where they are.
    assert called & HEAVY <= {"_from_json", "validate"}


def test_only_small_bodies_are_parsed_on_the_event_loop(settings: Settings) -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 16)).tolist()
    request = {
        "method": "POST",
        "url": "/v1/distances",
        "content": json.dumps({"x": numbers}).encode(),
        "headers": {"content-type": "application/json"},
    }
    called, statuses = asyncio.run(called_on_the_loop(create_app(settings), request))
    assert statuses == [200]
    assert not called & HEAVY


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


def rows(count: int, dimension: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)


def batch(count: int, dimension: int, **fields: object) -> dict[str, Any]:
    request = {"labels": [row // 4 for row in range(count)], **fields}
    return {"url": "/v1/losses/batch", **pack(request, embeddings=rows(count, dimension))}


SMALL = [
    {"url": "/v1/distances", **pack({}, x=rows(50, 512), y=rows(50, 512))},
    {"url": "/v1/distances", **pack({}, x=rows(1, 128), y=rows(10_000, 128))},
    {"url": "/v1/distances", **pack({}, x=rows(100, 128))},
    {"url": "/v1/distances", "json": {"x": rows(50, 64).tolist(), "y": rows(100, 64).tolist()}},
    {"url": "/v1/distances", **pack({"paired": True}, x=rows(2000, 64), y=rows(2000, 64))},
    {
        "url": "/v1/losses/triplet",
        **pack({}, **dict.fromkeys(("anchor", "positive", "negative"), rows(99, 64))),
    },
    batch(100, 128, mining="all", gradients=True, return_triplets=10),
    batch(64, 512, mining="hard", margin="soft"),
    batch(100, 64, mining="semi_hard", return_triplets=-1),
    {"url": "/v1/verify", "json": {"a": [0, 0], "b": [3, 4], "threshold": 1}},
]
LARGE = [
    {"url": "/v1/distances", **pack({}, x=rows(500, 64))},
    {"url": "/v1/distances", "json": {"x": rows(600, 2).tolist()}},  # whose text is what takes long
    {"url": "/v1/distances", **pack({"metric": "nuclear"}, x=rows(300, 300), y=rows(300, 300))},
    batch(1000, 2, mining="all", labels=[row % 2 for row in range(1000)]),
]


@contextlib.asynccontextmanager
async def occupied(app: FastAPI) -> AsyncIterator[tuple[Services, httpx2.AsyncClient]]:
    """Give a server whose one place for large computations is taken, and a client of it."""
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        services: Services = app.state.services
        await services.numeric.acquire_on_behalf_of("somebody")
        yield services, client


async def until_waiting(services: Services, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while services.numeric.statistics().tasks_waiting < count:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.001)


def test_small_requests_do_not_wait_for_a_heavy_one(settings: Settings) -> None:
    app = create_app(settings)

    async def scenario() -> None:
        async with occupied(app) as (_, client), asyncio.timeout(PATIENCE_S):
            for request in SMALL:
                answer = await client.post(**request)
                assert answer.status_code == 200, (request["url"], answer.text)

    asyncio.run(scenario())


def test_large_requests_wait_for_their_turn_and_are_then_answered(settings: Settings) -> None:
    app = create_app(settings)

    async def scenario() -> None:
        async with occupied(app) as (services, client):
            tasks = [asyncio.create_task(client.post(**request)) for request in LARGE]
            await until_waiting(services, len(LARGE))
            services.numeric.release_on_behalf_of("somebody")
            assert [(await task).status_code for task in tasks] == [200] * len(LARGE)
            assert services.admitted.borrowed_tokens == 0

    asyncio.run(scenario())


def test_no_more_large_requests_wait_than_may(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_waiting_computations": 1}))

    async def scenario() -> None:
        async with occupied(app) as (services, client):
            services.admitted.acquire_on_behalf_of_nowait("somebody")
            waiting = asyncio.create_task(client.post(**LARGE[0]))
            await until_waiting(services, 1)
            refused = await client.post(**LARGE[1])
            assert_problem(refused, 429, "overloaded", "LOOKALIKE_MAX_WAITING_COMPUTATIONS")
            assert int(refused.headers["retry-after"]) >= 1
            services.numeric.release_on_behalf_of("somebody")
            assert (await waiting).status_code == 200

    asyncio.run(scenario())


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
