"""A request ends with its deadline, or with its client, and its pictures are dropped."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from models.engines import Device, Embeddings, Engine
from models.images import Pixels
from models.runtime import Encoder, load_encoder
from service.api.state import Services
from service.app import create_app
from service.gallery.collection import CollectionConfig, NewItem
from service.settings import Settings
from tests.service.api.test_attended import Client, until
from tests.service.api.wires import assert_problem, data_uri, pack

PATIENCE_S = 20
# Work of seconds in a collection of 1,000 items, by route.
LONG: dict[str, dict[str, Any]] = {
    "search": {"queries": [[n, 1] for n in range(400)], "rerank": {"method": "k_reciprocal", "top": 100}},
    "recall": {"sample": 1000},
}


class Hold:
    """Loads encoders that wait until they are let go."""

    name = "held"
    device = "cpu"
    lanes = 1

    def __init__(self) -> None:
        self.free, self.entered = threading.Event(), threading.Event()
        self._inner: Engine | None = None

    def __call__(self, folder: Path, *, device: Device, threads: int) -> Encoder:
        """Load one, with this as its engine."""
        encoder = load_encoder(folder, device=device, threads=threads)
        self._inner = encoder.engine
        return Encoder(encoder.manifest, self)

    def run(self, pixels: Pixels, *, alone: bool = True) -> Embeddings:
        """Embed as the real one does, later."""
        assert self._inner is not None
        self.entered.set()
        assert self.free.wait(PATIENCE_S)
        return self._inner.run(pixels, alone=alone)


@pytest.mark.parametrize("header", ["0", "-5", "1.5", "soon", "", "٣", "9" * 5000])
def test_a_deadline_that_is_none_is_refused(stateless: TestClient, header: str) -> None:
    answer = stateless.get("/v1/encoders", headers=[(b"X-Deadline-Ms", header.encode())])
    assert_problem(answer, 422, "invalid-fields", "whole number of milliseconds")


def test_one_that_is_kept_changes_nothing(stateless: TestClient, picture: Callable[..., bytes]) -> None:
    answer = stateless.post(
        "/v1/embeddings", json={"input": data_uri(picture())}, headers={"X-Deadline-Ms": "20000"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("by_header", [True, False])
def test_pictures_that_are_not_embedded_in_time_are_answered_504(
    settings: Settings, picture: Callable[..., bytes], by_header: bool
) -> None:
    hold = Hold()
    app = create_app(settings if by_header else settings.model_copy(update={"deadline_ms": 1000}), load=hold)
    headers = {"X-Deadline-Ms": "1000"} if by_header else {}
    with TestClient(app) as client:
        answer = client.post("/v1/embeddings", json={"input": [data_uri(picture())] * 3}, headers=headers)
        assert_problem(answer, 504, "deadline-passed", "Give it more time")
        hold.free.set()
        later = client.post(
            "/v1/embeddings", json={"input": data_uri(picture())}, headers={"X-Deadline-Ms": "20000"}
        )
        assert later.status_code == 200
        assert app.state.services.encoder.busy is False
        text = client.get("/metrics").text
        assert 'lookalike_rejected_images_total{encoder="tiny",reason="deadline"} 3.0' in text
        assert 'lookalike_rejected_requests_total{reason="deadline"} 1.0' in text


def test_an_enrolment_that_is_late_writes_nothing(settings: Settings, picture: Callable[..., bytes]) -> None:
    hold = Hold()
    with TestClient(create_app(settings, load=hold)) as client:
        client.put("/v1/collections/c")
        answer = client.post(
            "/v1/collections/c/items",
            files=[("file", picture())],
            data={"identity": "a"},
            headers={"X-Deadline-Ms": "100"},
        )
        assert_problem(answer, 504, "deadline-passed")
        hold.free.set()
        assert client.get("/v1/collections/c").json()["items"] == 0


def test_a_computation_that_is_late_ends(settings: Settings) -> None:
    embeddings = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    request = pack({"mining": "all", "margin": "soft"}, embeddings=embeddings, labels=np.arange(20_000) % 100)
    request["headers"] = {**request.get("headers", {}), "X-Deadline-Ms": "1500"}
    app = create_app(settings)
    with TestClient(app) as client:
        assert_problem(client.post("/v1/losses/batch", **request), 504, "deadline-passed")
        assert app.state.services.numeric.borrowed_tokens == 0
        assert 'rejected_requests_total{reason="deadline"} 1.0' in client.get("/metrics").text


def filled(app: FastAPI) -> Services:
    """Put 1,000 vectors into a collection `c` of a server that runs."""
    services: Services = app.state.services
    target, _ = services.gallery.create("c", CollectionConfig(dimension=2, metric="euclidean"))
    rows = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    target.upsert([NewItem(str(number), None, row, {}) for number, row in enumerate(rows)])
    return services


@pytest.mark.parametrize(("route", "body"), LONG.items())
def test_work_of_the_gallery_that_is_late_ends(settings: Settings, route: str, body: dict[str, Any]) -> None:
    app = create_app(settings)
    with TestClient(app) as client:
        services = filled(app)
        answer = client.post(f"/v1/collections/c/{route}", json=body, headers={"X-Deadline-Ms": "100"})
        assert_problem(answer, 504, "deadline-passed", "Give it more time")
        assert services.storage.borrowed_tokens == 0


@pytest.mark.parametrize(("route", "body"), LONG.items())
def test_work_of_the_gallery_ends_when_its_client_leaves(
    settings: Settings, route: str, body: dict[str, Any]
) -> None:
    app = create_app(settings)

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            services = await asyncio.to_thread(filled, app)
            client = Client(body=json.dumps(body).encode())
            task = asyncio.create_task(client.post(app, f"/v1/collections/c/{route}"))
            await until(lambda: services.storage.borrowed_tokens)
            client.leave()
            async with asyncio.timeout(PATIENCE_S):
                await task  # nothing is sent
            assert services.storage.borrowed_tokens == 0

    asyncio.run(scenario())


def test_the_pictures_of_clients_that_leave_are_dropped_and_counted(
    settings: Settings, picture: Callable[..., bytes]
) -> None:
    hold = Hold()
    app = create_app(settings, load=hold)
    content = b'{"input": ["%s"]}' % data_uri(picture()).encode()

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            before = asyncio.all_tasks()
            services: Services = app.state.services
            first = Client(body=content)
            tasks = [asyncio.create_task(first.post(app, "/v1/embeddings"))]
            await until(hold.entered.is_set)
            clients = [first, *(Client(body=content) for _ in range(50))]
            tasks += [asyncio.create_task(client.post(app, "/v1/embeddings")) for client in clients[1:]]
            await until(lambda: services.encoder.waiting == 51)
            for client in clients:
                client.leave()
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*tasks)
            hold.free.set()
            await until(lambda: services.encoder.waiting == 0)
            assert asyncio.all_tasks() == before
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as asking:
                text = (await asking.get("/metrics")).text
                assert 'lookalike_dropped_images_total{encoder="tiny"} 50.0' in text
                assert 'lookalike_rejected_images_total{encoder="tiny",reason="left"} 51.0' in text
                assert 'lookalike_rejected_requests_total{reason="left"} 51.0' in text
                assert "lookalike_running_requests 1.0" in text  # this one

    asyncio.run(scenario())


def test_metrics_are_in_the_form_of_prometheus(stateless: TestClient, picture: Callable[..., bytes]) -> None:
    stateless.post("/v1/embeddings", json={"input": data_uri(picture())})

    answer = stateless.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert '\nlookalike_waiting_images{encoder="tiny"} 0.0\n' in answer.text
    assert '\nlookalike_encode_seconds_bucket{encoder="tiny",le="+Inf"}' in answer.text
