"""What every request passes: ids, limits, media types, and failures that are ours."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator

import httpx2
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import SAFETENSORS, assert_problem


def test_a_request_id_is_taken_or_made_and_returned(
    stateless: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lookalike.access"):
        given = stateless.get("/health/live", headers={"x-request-id": "trace-1"})
    assert given.headers["x-request-id"] == "trace-1"
    assert "trace-1" in caplog.text
    made = {stateless.get("/health/live").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    unprintable = stateless.get("/health/live", headers={"x-request-id": "a\tb"})
    assert "\t" not in unprintable.headers["x-request-id"]


def test_a_body_over_the_limit_is_refused_declared_or_streamed(settings: Settings) -> None:
    def stream() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 100

    small = settings.model_copy(update={"max_body_bytes": 1000})
    with TestClient(create_app(small)) as client:
        declared = client.post("/v1/distances", content=b"x" * 5000)
        streamed = client.post("/v1/distances", content=stream())
        form = client.post("/v1/embeddings", files={"input": b"x" * 5000})
    for answer in (declared, streamed, form):
        assert_problem(answer, 413, "too-large", "1,000 bytes")


@pytest.mark.parametrize(
    ("media_type", "content", "status", "slug", "word"),
    [
        ("application/json", b"{", 400, "malformed-body", "not JSON"),
        ("application/json", b"[1]", 400, "malformed-body", "JSON object"),
        ("application/json", b'{"x": [[NaN', 400, "malformed-body", "not JSON"),
        ("application/json", b'{"x": [[NaN]], "model": "\\ud800"}', 400, "malformed-body", "not JSON"),
        ("application/json", b'{"x": [[NaN]], "model": "\\ud83d\\ude00"}', 404, "not-found", "encoder"),
        ("application/json", b"", 422, "invalid-fields", "x"),
        ("application/json", b"[" * 100_000, 400, "malformed-body", "not JSON"),
        ("application/json", b'{"x":' + b"[" * 900 + b"NaN", 400, "malformed-body", "not JSON"),
        (SAFETENSORS, b"1234567890", 400, "malformed-body", "safetensors"),
        (SAFETENSORS, b"", 400, "malformed-body", "safetensors"),
        ("application/x-www-form-urlencoded", b"x=1", 415, "unsupported-media-type", "-H"),
        ("text/csv", b"1,2", 415, "unsupported-media-type", "application/json"),
        ("image/png", b"", 415, "unsupported-media-type", "multipart/form-data"),
        ("multipart/form-data", b"abc", 400, "malformed-body", "boundary"),
        ("multipart/form-data; boundary=a", b"abc", 400, "malformed-body", "form"),
    ],
)
def test_bodies_that_cannot_be_read_say_why(
    stateless: TestClient, media_type: str, content: bytes, status: int, slug: str, word: str
) -> None:
    answer = stateless.post("/v1/distances", content=content, headers={"content-type": media_type})
    assert_problem(answer, status, slug, word)


@pytest.mark.parametrize(("file_format", "media_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png")])
@pytest.mark.parametrize("said", [None, "application/json"])
def test_a_picture_that_is_read_as_json_is_told_its_content_type(
    stateless: TestClient, picture: Callable[..., bytes], said: str | None, file_format: str, media_type: str
) -> None:
    headers = {} if said is None else {"Content-Type": said}
    answer = stateless.post(
        "/v1/embeddings", content=picture(file_format=file_format) + b"NaN", headers=headers
    )
    assert_problem(answer, 400, "malformed-body", f"Send it with Content-Type: {media_type}.")


def test_what_a_client_sent_is_not_repeated_at_any_length(stateless: TestClient) -> None:
    long = "m" * 100_000
    for answer in (
        stateless.post("/v1/embeddings", json={"input": "x", "model": long}),
        stateless.post("/v1/distances", json={"x": [[1]], "metric": "euclidean", long: 1}),
        stateless.get(f"/v1/{long[:5000]}"),
    ):
        assert answer.json()["detail"].count(" ... ") == 1
        assert len(answer.content) < 4500
    problem = stateless.post("/v1/embeddings", json={"input": "x", "model": long}).json()
    assert problem["message"] == problem["detail"]
    assert problem["detail"].startswith("No encoder 'mmm")
    assert problem["detail"].endswith("there is 'tiny'.")


def test_of_a_header_that_comes_twice_the_last_counts(stateless: TestClient) -> None:
    headers = [
        ("X-Request-ID", "one"),
        ("X-Request-ID", "two"),
        ("X-Deadline-Ms", "no"),
        ("X-Deadline-Ms", "9000"),
    ]
    answer = stateless.get("/health/live", headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "two")


def test_a_form_that_was_cut_off_is_refused_as_a_whole(client: TestClient) -> None:
    client.put("/v1/collections/c")
    part = b'--a\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nxyz\r\n'
    headers = {"content-type": "multipart/form-data; boundary=a"}
    cut = client.post("/v1/collections/c/items", content=part + part[:-4], headers=headers)
    assert_problem(cut, 400, "malformed-body", "closing boundary")
    whole = client.post("/v1/collections/c/items", content=part + b"--a--\r\n", headers=headers)
    assert_problem(whole, 422, "unsupported-image")


def test_a_compressed_body_is_refused_by_its_encoding(stateless: TestClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = stateless.post("/v1/distances", content=b"{}", headers=headers)
    assert_problem(answer, 415, "unsupported-media-type", "gzip")


def test_a_path_cannot_write_lines_into_the_log(
    stateless: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lookalike.access"):
        stateless.get("/v1/x%0aforged%1b[31m")
    (message,) = [record.getMessage() for record in caplog.records]
    assert "\n" not in message
    assert "\x1b" not in message


def test_a_client_that_leaves_in_mid_body_is_one_line_in_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/distances",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"100")],
    }
    messages: list[dict[str, object]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: object) -> None:
        sent.append(message)

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    with caplog.at_level(logging.INFO, "lookalike.access"):
        asyncio.run(serve())
    assert sent == []
    assert "POST /v1/distances -> 499" in caplog.text


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        safetensors({"__metadata__": {"json": "{"}}),
        safetensors({"__metadata__": {"json": "[]"}}),
        safetensors(
            {
                "__metadata__": {"json": '{"x": [[1]]}'},
                "x": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]},
            },
            b"\0" * 4,
        ),
        safetensors({"x": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4]}}, b"\0" * 4),
        (2**60).to_bytes(8, "little") + b"{}",
    ],
)
def test_damaged_safetensors_are_refused(stateless: TestClient, content: bytes) -> None:
    answer = stateless.post("/v1/distances", content=content, headers={"content-type": SAFETENSORS})
    assert_problem(answer, 400, "malformed-body")


def test_a_failure_of_ours_is_a_500_without_its_insides(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lookalike.access")
    app = create_app(settings)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of the house")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken", headers={"x-request-id": "r1"})
    assert_problem(answer, 500, "internal", "request_id")
    assert "GET /broken -> 500" in caplog.text
    assert "secret" not in answer.text


def test_health_tells_what_it_ran(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "alive"}
    client.put("/v1/collections/c", json={"dimension": 2, "metric": "cosine"})
    ready = client.get("/health/ready").json()
    assert ready["status"] == "ready"
    assert ready["encoder"] == "tiny"
    assert ready["collections"] == 1
    assert ready["encode_ms"] > 0


def test_an_authorization_header_is_ignored_where_no_keys_are_configured(stateless: TestClient) -> None:
    answer: httpx2.Response = stateless.get("/v1/models", headers={"authorization": "Bearer anything"})
    assert answer.status_code == 200
