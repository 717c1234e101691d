"""Connections that do not come to an end, over real sockets: they are ended, and others do not notice."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.serving import Server, running_server

pytestmark = pytest.mark.system

PATIENCE_S = 20.0
PIECE = b"a" * 32_768


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("connections")
    with running_server(data, "--encoder", str(bundle), "--body-timeout-s", "1") as running:
        yield running


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def head(length: str, **fields: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **fields}.items()]
    return "\r\n".join(["POST /v1/distances HTTP/1.1", "Host: x", length, *lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Return the status and the body of an answer after which the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):  # where it had not read all that was sent
        while piece := connection.recv(65_536):
            received += piece
    start, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in start.lower()
    return int(start.split()[1]), json.loads(body)


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
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)  # 80 kB in all
        received = b""
        while received.count(b"HTTP/1.1 200") < 2000:
            piece = connection.recv(65_536)
            assert piece
            received += piece


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
