"""The benchmark of REST: what it sends, compares and writes."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load, save

from benchmarks.core.cases import Case
from benchmarks.rest_client import FORMATS, Arrays, Client, Format, Stopwatch, differing
from benchmarks.rest_numeric import Request, measure, render, requests, verdict

SAFETENSORS, JSON = FORMATS
DISTANCES, LOSS = requests(Case("metrics", 20, 6, backward=False), Case("batch_all", 24, 6, 4))


class Answers(BaseHTTPRequestHandler):
    """Answers every request with what is set on the class."""

    status = 200
    content: Mapping[str, bytes]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = self.content[self.headers["accept"]]
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def answering(arrays: Arrays, status: int = 200) -> Iterator[str]:
    """Serve one answer in both formats; yield the server's URL."""
    content = {SAFETENSORS.media_type: packed(arrays), JSON.media_type: orjson.dumps(as_lists(arrays))}
    handler = type("Handler", (Answers,), {"status": status, "content": content})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def as_lists(arrays: Arrays) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}


def packed(arrays: Arrays) -> bytes:
    """Return an answer as the service writes it: tensors, and numbers in the metadata."""
    numbers = as_lists({name: array for name, array in arrays.items() if not array.ndim})
    tensors = {name: array for name, array in arrays.items() if array.ndim}
    return save(tensors, {"json": json.dumps(numbers)})


def timed(alone_ms: float, taken_ms: float) -> Stopwatch:
    """Return a stopwatch whose times have these medians."""
    watch = Stopwatch()
    for share in (0.5, 1.0, 2.0):
        watch.note("in-process", alone_ms * share / 1000)
        for one in FORMATS:
            watch.note(one.name, taken_ms * share / 1000)
            watch.note(f"{one.name}, pack", 0.001)
            watch.note(f"{one.name}, unpack", 0.002)
            watch.bytes |= {f"{one.name}, sent": 4_100_000, f"{one.name}, received": 300_000}
    return watch


@pytest.mark.parametrize("request_", [DISTANCES, LOSS], ids=lambda one: one.path)
def test_requests_carry_what_the_call_computes_from(request_: Request) -> None:
    found = load(SAFETENSORS.pack(request_.fields, request_.arrays))
    assert not differing(found, request_.arrays)
    text = json.loads(JSON.pack(request_.fields, request_.arrays))
    assert {name: text[name] for name in request_.fields} == request_.fields
    assert not differing({name: np.array(text[name]) for name in request_.arrays}, request_.arrays)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_answers_are_read_with_their_loss(one: Format) -> None:
    expected = LOSS.call(LOSS.arrays)
    assert set(expected) == {"loss", "gradients"}
    body = packed(expected) if one is SAFETENSORS else orjson.dumps(as_lists(expected))
    assert not differing(one.unpack(body, list(expected)), expected)


def test_answers_that_differ_are_named() -> None:
    expected = {"loss": np.array(0.5), "gradients": np.ones((2, 3), dtype=np.float32)}
    assert differing(expected, expected) == []
    assert differing({**expected, "loss": np.array(0.5 + 1e-7)}, expected) == []
    assert differing({**expected, "loss": np.array(0.51)}, expected) == ["loss"]
    assert differing({**expected, "gradients": np.full((2, 3), np.nan)}, expected) == ["gradients"]
    assert differing({**expected, "gradients": np.ones((1, 3))}, expected) == ["gradients"]


def test_both_sides_are_timed_and_the_warm_up_is_forgotten() -> None:
    with answering(LOSS.call(LOSS.arrays)) as url:
        watch = measure(LOSS, url, 4)
    assert [watch.count(name) for name in ("in-process", "safetensors", "JSON")] == [4, 4, 2]
    assert watch.bytes["JSON, sent"] == len(JSON.pack(LOSS.fields, LOSS.arrays))


def test_a_loss_that_is_wrong_ends_the_run() -> None:
    wrong = {**LOSS.call(LOSS.arrays), "loss": np.array(7.0)}
    with answering(wrong) as url, pytest.raises(RuntimeError, match="loss differ from in-process"):
        measure(LOSS, url, 1)


def test_an_error_ends_the_run() -> None:
    with answering({}, status=413) as url, pytest.raises(RuntimeError, match="answered 413"):
        measure(LOSS, url, 1)


def test_a_request_never_connects_by_itself() -> None:
    with pytest.raises(http.client.NotConnected):
        Client("http://127.0.0.1:1", JSON.media_type).post("/", b"")


@pytest.mark.parametrize(
    ("request_", "taken_ms", "said"),
    [
        (
            DISTANCES,
            29.9,
            "at most in-process + 20 ms = 30.0 ms over safetensors; 29.9 (22.4 to 44.9) ms: met.",
        ),
        (DISTANCES, 30.1, "**missed**"),
        (LOSS, 12.9, "at most 1.3 x in-process = 13.0 ms over safetensors; 12.9 (9.7 to 19.3) ms: met."),
        (LOSS, 13.1, "**missed**"),
    ],
)
def test_the_verdict_is_by_the_medians(request_: Request, taken_ms: float, said: str) -> None:
    assert said in verdict(request_, timed(10, taken_ms))


def test_the_section_shows_quartiles() -> None:
    text = render([(DISTANCES, timed(10, 12)), (LOSS, timed(10, 9))], 2)
    assert "Medians of 3 rounds, of\n3 for JSON" in text
    assert "| Distances, 20 x 20 x 6 | in-process | 10.0 (7.5 to 15.0) |  |  |  |  |" in text
    assert "|  | safetensors | 12.0 (9.0 to 18.0) | +2.0 ms, 1.20 x | 3.0 | 4.1 | 0.3 |" in text
    assert "| Batch-all with gradients, N = 24, K = 4, D = 6 | in-process |" in text
