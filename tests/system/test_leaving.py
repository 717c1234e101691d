"""A client that closes its connection takes its computation with it, and the next one is answered."""

import json
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from safetensors.numpy import save

from tests.system.serving import Server, running_server

pytestmark = pytest.mark.system

PATIENCE_S = 60
SAFETENSORS = {"content-type": "application/x-safetensors", "accept": "application/x-safetensors"}


def lengthy_loss() -> bytes:
    """Return a request whose loss takes minutes: nobody who waits for its end is answered in this test."""
    embeddings = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    fields = {"mining": "all", "margin": "soft", "gradients": True}
    return save({"embeddings": embeddings, "labels": np.arange(20_000) % 100}, {"json": json.dumps(fields)})


def large_distances(*, reduction: str = "mean") -> bytes:
    """Return a request of the kind that waits for its turn; without a reduction its answer has 9 MB."""
    x = np.random.default_rng(0).normal(size=(1500, 64)).astype(np.float32)
    return save({"x": x}, {"json": json.dumps({"reduction": reduction})})


def begin(server: Server, path: str, content: bytes, request_id: str) -> socket.socket:
    """Send a request, and leave the connection open without reading the answer."""
    url = httpx2.URL(server.url)
    assert url.port is not None
    connection = socket.create_connection((url.host, url.port))
    head = {"host": url.host, "content-length": str(len(content)), "x-request-id": request_id, **SAFETENSORS}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    return connection


def logged(server: Server) -> list[tuple[str, int]]:
    """Return the (request id, status) of what the access log has, in order."""
    found = re.findall(r" -> (\d+) in .* \[(\w+)\]", server.log.read_text())
    return [(request_id, int(status)) for status, request_id in found]


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def cpu_seconds(server: Server) -> float:
    """Return the processor time of all processes below the one that was started."""
    (child,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_computations_end_with_their_clients_running_or_waiting(bundle: Path, tmp_path: Path) -> None:
    arguments = ("--encoder", str(bundle), "--log-level", "debug")
    with running_server(tmp_path / "data", *arguments) as server, server.client() as client:
        idle = cpu_seconds(server)
        running = begin(server, "/v1/losses/batch", lengthy_loss(), "running")
        until(lambda: cpu_seconds(server) > idle + 1)  # it computes
        waiting = begin(server, "/v1/losses/batch", lengthy_loss(), "waiting")
        until(lambda: "waits for its turn [waiting]" in server.log.read_text())
        waiting.close()
        until(lambda: logged(server) == [("waiting", 499)])
        running.close()
        headers = {"x-request-id": "next", **SAFETENSORS}
        answer = client.post("/v1/distances", content=large_distances(), headers=headers)
        assert answer.status_code == 200
        assert server.stop() == 0
    assert logged(server) == [("waiting", 499), ("running", 499), ("next", 200)]
    assert "Traceback" not in server.log.read_text()


def test_a_client_may_leave_in_the_middle_of_its_answer(bundle: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "--encoder", str(bundle)) as server, server.client() as client:
        leaver = begin(server, "/v1/distances", large_distances(reduction="none"), "leaver")
        assert leaver.recv(1000).startswith(b"HTTP/1.1 200 ")
        leaver.close()
        until(lambda: [request_id for request_id, _ in logged(server)] == ["leaver"])
        answer = client.post("/v1/distances", content=large_distances(), headers=SAFETENSORS)
        assert answer.status_code == 200
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_computation_ends_with_the_server(bundle: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--encoder", str(bundle), "--shutdown-grace-s", "0")
    idle = cpu_seconds(server)
    with begin(server, "/v1/losses/batch", lengthy_loss(), "running"):
        until(lambda: cpu_seconds(server) > idle + 1)
        assert server.stop() == 0
    assert logged(server) == [("running", 503)]
    assert "Traceback" not in server.log.read_text()
