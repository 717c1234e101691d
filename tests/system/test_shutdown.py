"""Starting and stopping as an operator sees it: exit codes, and one sentence where something is wrong."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from safetensors.numpy import save

from service.gallery.collection import CollectionConfig
from service.gallery.gallery import Gallery
from tests.system.serving import Server, running_server

pytestmark = pytest.mark.system

STOPS_WITHIN_S = 5
LONG_REQUEST_S = 1.5
PICTURES = 40


def refused(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start a server that cannot start, and return how it ended."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOKALIKE_")}
    command = [sys.executable, "-m", "service.cli", "serve", *map(str, arguments)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**environment, **variables}, check=False
    )
    assert "Traceback" not in ended.stderr
    assert "Ready." not in ended.stderr
    return ended


def test_sigterm_lets_a_running_request_finish_and_exits_0(
    bundle: Path, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    encoded = [base64.b64encode(picture(identity)).decode() for identity in range(PICTURES)]
    answers: list[tuple[int, int, float]] = []

    with running_server(tmp_path / "data", "--encoder", str(bundle)) as server, server.client() as client:
        count = round(PICTURES * LONG_REQUEST_S / seconds_for(client, encoded))
        pictures = [encoded[number % PICTURES] for number in range(count)]

        def embed() -> None:
            answer = client.post("/v1/embeddings", json={"input": pictures})
            answers.append((answer.status_code, len(answer.json()["data"]), time.monotonic()))

        request = threading.Thread(target=embed)
        request.start()
        with server.client() as watcher:
            while not pictures_wait(watcher):
                assert request.is_alive()
        told = time.monotonic()
        code = server.stop()
        took = time.monotonic() - told
        request.join(timeout=30)
    ((status, embedded, answered),) = answers
    assert (status, embedded) == (200, count)
    assert answered > told  # it was running indeed
    assert code == 0
    assert took < STOPS_WITHIN_S
    assert "Traceback" not in server.log.read_text()


def test_a_request_that_outlasts_the_grace_is_told_to_come_back(bundle: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4000, 512)).astype(np.float32)
    wanted = json.dumps({"metric": "minkowski", "p": 2.5, "reduction": "mean"})  # of many seconds on one core
    answers: list[httpx2.Response] = []
    server = Server(tmp_path / "data", "--encoder", str(bundle), "--threads", "1", "--shutdown-grace-s", "1")
    with server.client() as client:

        def compute() -> None:
            content, headers = save({"x": x}, {"json": wanted}), {"content-type": "application/x-safetensors"}
            answers.append(client.post("/v1/distances", content=content, headers=headers))

        request = threading.Thread(target=compute)
        request.start()
        with server.client() as watcher:
            while not computes(watcher):
                assert request.is_alive()
        told = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - told < STOPS_WITHIN_S
        request.join(timeout=30)
    (answer,) = answers
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "stopping" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0
    log = server.log.read_text()
    assert "WARNING uvicorn.error: Requests that outlasted LOOKALIKE_SHUTDOWN_GRACE_S" in log
    assert " ERROR " not in log
    assert "Traceback" not in log


def computes(client: httpx2.Client) -> bool:
    """Return whether a request runs besides this one."""
    lines = client.get("/metrics").text.splitlines()
    return any(
        line.startswith("lookalike_running_requests ") and float(line.split()[-1]) > 1 for line in lines
    )


def wait_until_it_drains(client: httpx2.Client) -> None:
    """Return once the server says that it stops; it answers until then."""
    until = time.monotonic() + STOPS_WITHIN_S
    while (ready := client.get("/health/ready")).status_code == 200:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert (ready.status_code, "stopping" in ready.json()["detail"]) == (503, True)


def pictures_wait(client: httpx2.Client) -> bool:
    """Return whether a request's pictures were admitted and are not all answered."""
    lines = client.get("/metrics").text.splitlines()
    return any(line.startswith("lookalike_waiting_images{") and float(line.split()[-1]) for line in lines)


def seconds_for(client: httpx2.Client, pictures: list[str]) -> float:
    """Return how long embedding takes here, once the encoder is warm."""
    for _ in range(3):
        started = time.monotonic()
        client.post("/v1/embeddings", json={"input": pictures}).raise_for_status()
        seconds = time.monotonic() - started
    return seconds


def test_an_idle_server_with_open_connections_stops_at_once(bundle: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--encoder", str(bundle))
    with server.client() as client:
        assert client.get("/health/live").status_code == 200  # and the connection is kept
        told = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - told < STOPS_WITHIN_S
        with pytest.raises(httpx2.ConnectError):
            client.get("/health/live")


def test_a_drain_answers_everything_while_it_says_not_ready(bundle: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--encoder", str(bundle), "--drain-s", "3")
    with server.client() as client:
        assert client.get("/health/ready").status_code == 200
        told = time.monotonic()
        server.ask_to_stop()
        wait_until_it_drains(client)
        with server.client() as another:  # a new connection
            answered = another.post("/v1/distances", json={"x": [[0, 0]], "y": [[3, 4]]})
        assert answered.json()["distances"] == [[5.0]]
        assert client.get("/health/live").status_code == 200
        assert server.wait() == 0
        assert 3 <= time.monotonic() - told < 3 + STOPS_WITHIN_S
    assert "Traceback" not in server.log.read_text()


def test_a_second_signal_ends_the_drain(bundle: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--encoder", str(bundle), "--drain-s", "600")
    server.ask_to_stop()
    with server.client() as client:
        wait_until_it_drains(client)  # two signals that come at once are one
    assert server.process.poll() is None
    assert server.stop() == 0


def test_a_second_server_is_refused_the_data_directory_and_the_port(bundle: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "--encoder", str(bundle)) as server, server.client() as client:
        # Before it looks at its encoder, which takes seconds.
        second = refused("--port", "0", "--data-dir", tmp_path / "data", "--encoder", tmp_path / "none")
        assert second.returncode == 1
        assert "is in use by another server" in second.stderr

        port = str(httpx2.URL(server.url).port)
        third = refused("--port", port, "--data-dir", tmp_path / "other", "--encoder", bundle)
        assert third.returncode == 1
        assert third.stderr.startswith(f"Error: Cannot listen on port {port}")
        assert "choose another --port" in third.stderr.replace("\n", " ")

        assert client.get("/health/ready").status_code == 200  # the first does not mind


def test_an_unknown_encoder_is_named(tmp_path: Path) -> None:
    ended = refused("--port", "0", "--data-dir", tmp_path / "data", "--encoder", "nosuch")
    assert ended.returncode == 1
    assert "'nosuch' is no shipped encoder" in ended.stderr


def test_a_damaged_collection_says_what_to_do_and_the_others_are_served(bundle: Path, tmp_path: Path) -> None:
    with Gallery(tmp_path / "data") as gallery:
        for name in ("cars", "people"):
            gallery.create(name, CollectionConfig(dimension=2, metric="euclidean"))
    record = tmp_path / "data" / "collections" / "people" / "record.sqlite3"
    record.write_bytes(b"\0" * record.stat().st_size)
    with running_server(tmp_path / "data", "--encoder", str(bundle)) as server, server.client() as client:
        listed = client.get("/v1/collections").json()
        assert [one["name"] for one in listed["collections"]] == ["cars"]
        assert [one["name"] for one in listed["unopened"]] == ["people"]
        refusal = client.get("/v1/collections/people")
        assert refusal.status_code == 500
        for told in (refusal.json()["detail"], listed["unopened"][0]["detail"]):
            assert "people/record.sqlite3" in told
            assert "backup" in told


@pytest.mark.parametrize("file", ["manifest.json", "weights.safetensors"])
def test_a_damaged_bundle_is_refused_with_the_files_name(bundle: Path, tmp_path: Path, file: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle, damaged)
    content = bytearray((damaged / file).read_bytes())
    content[len(content) // 2] ^= 0x80
    (damaged / file).write_bytes(content)
    ended = refused("--port", "0", "--data-dir", tmp_path / "data", "--encoder", damaged)
    assert ended.returncode == 1
    assert file in ended.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LOOKALIKE_PORT", "abc"), ("LOOKALIKE_PORT", "70000"), ("LOOKALIKE_DEVICE", "tpu")],
)
def test_a_bad_setting_is_named_as_option_and_as_variable(tmp_path: Path, variable: str, value: str) -> None:
    ended = refused("--data-dir", tmp_path / "data", **{variable: value})
    assert ended.returncode == 2
    option = variable.removeprefix("LOOKALIKE_").lower()
    assert f"Error: --{option} ({variable}): " in ended.stderr
