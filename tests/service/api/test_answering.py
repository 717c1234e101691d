"""Answers in pieces: whole, byte for byte, and dropped without a fuss where the client leaves."""

import asyncio
import logging
from typing import Any

import numpy as np
import orjson
import pytest
from fastapi import FastAPI, Request, Response
from safetensors.numpy import load
from starlette.testclient import TestClient

from models.errors import InterruptedWorkError
from models.interruption import interruptible
from service.api.answering import render
from service.api.middleware import RequestMiddleware
from service.telemetry import Telemetry
from tests.service.api.wires import SAFETENSORS

LARGE = np.random.default_rng(0).normal(size=(300, 500)).astype(np.float32)  # several pieces


def app_answering(answer: dict[str, Any]) -> FastAPI:
    """Return an application with one route, which gives this answer."""
    app = FastAPI()
    app.add_middleware(
        RequestMiddleware, max_body_bytes=1000, body_timeout_s=30, metrics=Telemetry().requests
    )

    @app.get("/")
    def give(request: Request) -> Response:
        return render(request, answer)

    return app


def get(answer: dict[str, Any], accept: str) -> Any:
    with TestClient(app_answering(answer)) as client:
        return client.get("/", headers={"accept": accept, "x-request-id": "mine"})


@pytest.mark.parametrize("accept", ["application/json", SAFETENSORS])
def test_an_answer_of_many_pieces_has_its_length_its_id_and_every_byte(accept: str) -> None:
    found = get({"metric": "cosine", "distances": LARGE}, accept)
    assert found.status_code == 200
    assert found.headers["content-type"] == accept
    assert found.headers["x-request-id"] == "mine"
    assert int(found.headers["content-length"]) == len(found.content) > 2 * 256 * 1024
    if accept == SAFETENSORS:
        assert load(found.content)["distances"].tobytes() == LARGE.tobytes()
    else:
        assert found.content == orjson.dumps(
            {"metric": "cosine", "distances": LARGE}, option=orjson.OPT_SERIALIZE_NUMPY
        )


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_an_empty_array_is_one(shape: tuple[int, ...]) -> None:
    found = get({"distances": np.empty(shape, np.float32)}, SAFETENSORS)
    assert load(found.content)["distances"].shape == shape
    assert get({"distances": np.empty(shape, np.float32)}, "application/json").json() == {"distances": []}


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8", "float16", "float32", "float64"])
def test_arrays_keep_their_dtype(dtype: str) -> None:
    array = np.array([[0, 1], [1, 1]], dtype)
    tensor = load(get({"flags": array}, SAFETENSORS).content)["flags"]
    assert tensor.dtype == array.dtype
    np.testing.assert_array_equal(tensor, array)


def test_what_does_not_lie_in_rows_is_copied_into_rows() -> None:
    array = LARGE[:7, :5].T
    tensor = load(get({"distances": array}, SAFETENSORS).content)["distances"]
    np.testing.assert_array_equal(tensor, array)
    listed = get({"distances": array}, "application/json").json()["distances"]
    np.testing.assert_array_equal(np.array(listed, np.float32), array)


def test_an_answer_that_nobody_waits_for_is_not_made() -> None:
    request = Request({"type": "http", "headers": []})
    with interruptible(lambda: True), pytest.raises(InterruptedWorkError):
        render(request, {"distances": object()})  # which could not be written either


def test_a_client_that_leaves_in_the_middle_is_logged_as_499(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        if len(sent) == 3:
            raise OSError("the connection is gone")
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    with caplog.at_level(logging.INFO, "lookalike.access"):
        asyncio.run(app_answering({"distances": LARGE})(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 2]
    assert "GET / -> 499" in caplog.text
