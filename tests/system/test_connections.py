"""Connections that do not come to an end, over real sockets: they are ended, and others do not notice."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.system.serving import Server, running_server

pytestmark = pytest.mark.system

PATIENCE_S = 20.0
PIECE = b"a" * 32_768


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("connections")
    options = ("--encoder", str(bundle), "--body-timeout-s", "1", "--keep-alive-s", "2")
    with running_server(data, *options) as running:
        yield running


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def head(length: str, **fields: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **fields}.items()]
    return "\r\n".join(["POST /v1/distances HTTP/1.1", "Host: x", length, *lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Return the status and the body of an answer after which the server closes."""
    received = received_before_the_end(connection)
    start, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in start.lower()
    return int(start.split()[1]), json.loads(body)


def received_before_the_end(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):  # where it had not read all that was sent
        while piece := connection.recv(65_536):
            received += piece
    return received


def sent_before_the_end(connection: socket.socket) -> int:
    """Send pieces until the server has closed the connection; return how many bytes it took."""
    sent = 0
    try:
        while sent < 4096 * len(PIECE):
            connection.sendall(PIECE)
            sent += len(PIECE)
    except ConnectionError:
        pass
    return sent


def test_a_header_without_end_is_refused_and_its_connection_closed(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: ")
        connection.sendall(2 * PIECE)
        status, problem = answer(connection)
    assert (status, problem["type"]) == (431, "/problems/headers-too-large")
    with connected(server) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: ")
        assert sent_before_the_end(connection) < 64 * 2**20  # what fits into the buffers of two sockets


def test_many_small_headers_are_as_large(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 8_200)
        assert answer(connection)[0] == 431


def test_trailers_without_end_close_the_connection(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n")
        assert sent_before_the_end(connection) < 64 * 2**20


def test_large_bodies_and_many_requests_are_no_headers(server: Server) -> None:
    body = json.dumps({"x": [[1.0, 2.0]] * 20_000, "y": [[0.0, 0.0]]}).encode()
    assert len(body) > 200_000
    with server.client() as client:
        for content in (body, iter([body[:1000], body[1000:]])):
            given = client.post(
                "/v1/distances", content=content, headers={"content-type": "application/json"}
            )
            assert given.status_code == 200
    with connected(server) as connection:
        for _ in range(40):  # some 150 kB in all
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            received = b""
            while received.count(b"HTTP/1.1 200") < 100:
                piece = connection.recv(65_536)
                assert piece
                received += piece


def test_more_requests_than_anybody_waits_for_close_the_connection(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert received_before_the_end(connection).count(b"HTTP/1.1 200") < 1000


def test_headers_that_are_too_large_are_so_however_they_are_cut(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: " + 2 * PIECE + b"\r\n\r\n")
        assert answer(connection)[0] == 431


@pytest.mark.parametrize("begun", [b"", b"GET /health/live HT", b"GET /health/live HTTP/1.1\r\nHost: x\r\n"])
def test_a_connection_on_which_no_request_comes_is_closed(server: Server, begun: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(begun)
        told = time.monotonic()
        assert received_before_the_end(connection) == b""
        assert time.monotonic() - told < PATIENCE_S


def test_what_trickles_after_an_early_answer_does_not_keep_the_connection(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head("Content-Length: 100000", **{"Content-Type": "text/csv"}) + b"x")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"x")
                time.sleep(0.1)
        assert received_before_the_end(connection).startswith(b"HTTP/1.1 415")


def test_who_asks_for_another_protocol_is_answered_and_the_connection_closed(server: Server) -> None:
    with connected(server) as connection:
        asked = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        connection.sendall(asked)
        status, _ = answer(connection)
    assert status == 200


def test_who_asks_whether_to_send_a_body_that_is_refused_is_told_that_the_connection_ends(
    server: Server,
) -> None:
    with connected(server) as connection:
        connection.sendall(head("Content-Length: 999999999", Expect="100-continue"))
        assert answer(connection)[0] == 413


def test_a_body_of_which_nothing_comes_any_more_is_a_408(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head("Content-Length: 1000") + b'{"x": ')
        status, problem = answer(connection)
    assert (status, problem["type"]) == (408, "/problems/body-timeout")
    assert "1 seconds" in str(problem["detail"])
    with server.client() as client:
        assert 'reason="stalled"} 1.0' in client.get("/metrics").text


def test_a_deadline_counts_while_the_body_comes(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head("Content-Length: 1000", **{"X-Deadline-Ms": "200"}) + b'{"x": ')
        status, problem = answer(connection)
    assert (status, problem["type"]) == (504, "/problems/deadline-passed")


def test_a_proxys_bad_header_does_not_make_the_server_ill(server: Server) -> None:
    with server.client() as client:
        assert client.get("/health/ready", headers={"X-Deadline-Ms": "soon"}).status_code == 200


def test_an_answer_comes_at_once_and_not_its_head_before(server: Server) -> None:
    with connected(server) as connection:
        for _ in range(20):
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            start, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
            assert f"content-length: {len(body)}".encode() in start
            assert json.loads(body)


def test_an_answer_without_a_body_is_sent_and_the_next_one_is_whole(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).endswith(b"\r\n\r\n")
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_who_asks_whether_to_send_a_body_is_told_to_before_there_is_an_answer(server: Server) -> None:
    body = json.dumps({"x": [[1.0, 2.0]], "y": [[0.0, 0.0]]}).encode()
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {len(body)}", Expect="100-continue", Connection="close"))
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection)[0] == 200


def test_a_large_answer_has_every_byte(server: Server) -> None:
    rows = [[float(row), 1.0] for row in range(300)]
    body = json.dumps({"x": rows, "y": rows}).encode()
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {len(body)}", Connection="close") + body)
        status, given = answer(connection)
    assert status == 200
    assert np.asarray(given["distances"]).shape == (300, 300)
