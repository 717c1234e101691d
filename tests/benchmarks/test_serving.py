"""The benchmark of hosting: what it sends, checks, sums up and writes."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.learning.records import Record
from benchmarks.serving.checking import WrongAnswerError, check_answers
from benchmarks.serving.encoders import ENCODERS
from benchmarks.serving.limit import ARRANGEMENTS
from benchmarks.serving.load import Form, lists_of, run_load
from benchmarks.serving.networks import build, settle
from benchmarks.serving.pictures import draw_pictures
from benchmarks.serving.plan import BATCHES, CLIENTS, FULL
from benchmarks.serving.plotting import draw
from benchmarks.serving.processes import StartError, free_port, started
from benchmarks.serving.report import render, verdicts
from benchmarks.serving.servers import EAGER, OURS, SERVERS
from benchmarks.serving.summary import Summary

ROOT = Path(__file__).parents[2]
RAW = Form("raw JPEG", "/embed", "image/jpeg", None, ("embedding",))
JSON = Form("JSON, base64", "/embed", "application/json", '{"images": ["%s"]}', (0, "embedding"))
BODY = b"\xff\xd8 a picture"
ABOUT = {
    "command": "make x",
    "date": "2026-01-01",
    "machine": "m",
    "versions": "v",
    "threads": 2,
    "rounds": 3,
    "compared": 32,
    "peers": "litserve 1",
    "image": "i.svg",
}


class Embeds(BaseHTTPRequestHandler):
    """Answers each body with an embedding of its own."""

    protocol_version = "HTTP/1.1"
    status = 200
    embeddings: dict[bytes, list[float]]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        text = json.dumps({"embedding": self.embeddings.get(data, [0.0, 1.0])}).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def embedding(answers: dict[bytes, list[float]], status: int = 200) -> Iterator[int]:
    """Serve; yield the port."""
    handler = type("Handler", (Embeds,), {"embeddings": answers, "status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "0000.jpg"
    path.write_bytes(BODY)
    return path


def load_of(images_per_s: float, p50_ms: float = 10.0, **changed: Any) -> Record:
    load = {"images_per_s": images_per_s, "p50_ms": p50_ms, "p99_ms": 2 * p50_ms, "refused": 0, "broken": 0}
    return {**load, "generator_cpu": 0.02, "server_cpu": 1.9, **changed}


def server_record(images_per_s: float, **changed: Any) -> Record:
    loads = {str(clients): load_of(images_per_s, **changed) for clients in CLIENTS}
    return {"loads": loads, "bytes": 3e8, "cosine": 1.0}


def limit_record(scale: float) -> Record:
    """Return loops of which the overlapped one at batch 8 is the best."""
    speeds = {"in turn": 80.0, "overlapped": 100.0, "side by side": 90.0}
    loops = {
        name: {str(size): scale * speeds[name] / (1 + abs(size - 8)) for size in BATCHES}
        for name in ARRANGEMENTS
    }
    return {"loops": loops, "bare_ms": 8.0}


def summary(ours: float = 90.0, same: float = 60.0, eager: float = 40.0, **changed: Any) -> Summary:
    """Return a whole run: ours, the peers on the same engine, and those with eager PyTorch."""
    speeds = {one.key: eager if one.title.endswith(EAGER) else same for one in SERVERS}
    servers: dict[str, list[Record]] = {key: [server_record(speed)] for key, speed in speeds.items()}
    servers["lookalike"] = [server_record(ours * factor, **changed) for factor in (0.9, 1.0, 1.5)]
    return Summary([limit_record(scale) for scale in (0.5, 1.0, 1.1)], servers)


def test_a_form_says_how_a_picture_is_sent_and_where_its_embedding_stands() -> None:
    assert RAW.body(b"\xff\xd8") == b"\xff\xd8"
    assert json.loads(JSON.body(b"\xff\xd8")) == {"images": ["/9g="]}
    assert JSON.embedding([{"embedding": [1.0]}]) == [1.0]


def test_good_answers_pass_whatever_their_length(picture: Path) -> None:
    with embedding({BODY: [3.0, 4.0]}) as port:
        cosine = check_answers(port, RAW, [picture] * 3, np.array([[0.6, 0.8]] * 3, dtype=np.float32))
    assert cosine == pytest.approx(1)


def test_another_pictures_embedding_is_found(picture: Path) -> None:
    with embedding({BODY: [3.0, 4.0]}) as port, pytest.raises(WrongAnswerError, match=r"0000\.jpg.*0\.96"):
        check_answers(port, RAW, [picture], np.array([[0.8, 0.6]], dtype=np.float32))


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: apt-get install wrk")
@pytest.mark.parametrize("form", [RAW, JSON], ids=lambda one: one.title)
def test_the_load_sends_the_bodies_that_the_form_says(picture: Path, tmp_path: Path, form: Form) -> None:
    seen: dict[bytes, list[float]] = {form.body(BODY): [1.0]}
    lists = lists_of([picture], tmp_path / "lists")

    class Strict(Embeds):
        embeddings = seen

        def send_response(self, code: int, message: str | None = None) -> None:
            super().send_response(code, message)

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            good = data == form.body(BODY) and self.headers["content-type"] == form.content_type
            self.send_response(200 if good else 400)
            self.send_header("content-length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        load = run_load(f"http://127.0.0.1:{server.server_port}", form, lists, clients=2, seconds=1)
        server.shutdown()
        thread.join()
    assert load.images_per_s > 0
    assert (load.refused, load.broken) == (0, 0)
    assert 0 < load.generator_cpu < 1.5
    assert 0 < load.p50_ms <= load.p99_ms


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: apt-get install wrk")
def test_answers_that_refuse_count_for_nothing(picture: Path, tmp_path: Path) -> None:
    lists = lists_of([picture], tmp_path / "lists")
    with embedding({}, status=503) as port:
        load = run_load(f"http://127.0.0.1:{port}", RAW, lists, clients=1, seconds=1)
    assert load.images_per_s == 0
    assert load.refused > 0


def test_a_server_is_measured_with_what_it_starts_and_ended_with_it(tmp_path: Path) -> None:
    port = free_port()
    child = (
        "import time; held = bytearray(50_000_000); held[::4096] = b'x' * len(held[::4096]); time.sleep(60)"
    )
    parent = (
        "import socket, subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, '-c', {child!r}]);"
        f"server = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    )
    with started([sys.executable, "-c", parent], {}, port, tmp_path / "log") as tree:
        while tree.memory_bytes() < 50_000_000:
            assert tree.running()
        pids = tree.pids()
        assert len(pids) == 2
        assert tree.cpu_s() > 0
    assert not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model there')"]
    with (
        pytest.raises(StartError, match="no model there"),
        started(command, {}, free_port(), tmp_path / "log"),
    ):
        pass


def test_the_limit_is_the_best_median_of_all_arrangements() -> None:
    limit = summary().limit()
    assert limit is not None
    assert (limit.arrangement, limit.batch, limit.images_per_s) == ("overlapped", 8, 100.0)


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, []),
        ({"ours": 84.0}, ["of the loop: 0.84"]),
        ({"same": 91.0}, ["not below a peer"]),
        ({"same": 69.0, "ours": 86.0, "eager": 80.0}, ["at least 1.5 times"]),
        ({"same": 69.9, "ours": 83.0}, ["of the loop", "at least 1.2 times each"]),
        ({"p50_ms": 11.1}, ["within 3 ms of a bare call: +3.1 ms"]),
    ],
)
def test_every_aim_is_judged_by_its_ratio(changed: dict[str, float], missed: list[str]) -> None:
    lines = [line for line in verdicts(summary(**changed)) if "**missed**" in line]
    assert all(any(text in line for line in lines) for text in missed)
    assert all(any(text in line for text in missed) for line in lines)


def test_a_peer_without_figures_is_named_beside_the_verdicts() -> None:
    whole = summary()
    assert not any("not compared" in line for line in verdicts(whole))
    ray = next(one for one in SERVERS if one.title == "Ray Serve")
    servers = {one.key: [server_record(90.0)] for one in SERVERS if one is not ray}
    lines = verdicts(Summary([limit_record(1.0)], servers))
    assert lines[1] == "8 clients, not compared, for want of figures: Ray Serve."


def test_the_section_says_what_failed_and_what_was_not_measured() -> None:
    whole = summary(refused=2)
    text = render(
        FULL, {ENCODERS[0]: whole, ENCODERS[1]: Summary([], {"mosec": [{"problem": "it broke"}]})}, ABOUT
    )
    assert "| Lookalike | raw JPEG | 10.0, 20.0 | 90 (81 to 135), 6 failed | 0.90 |" in text
    assert "| mosec | raw JPEG | it broke |" in text
    assert "| BentoML | JSON, base64 | not measured yet |" in text
    assert "The loop has not been measured yet." in text


def test_the_plot_has_a_panel_for_each_encoder_and_is_the_same_again(tmp_path: Path) -> None:
    summaries = {ENCODERS[0]: summary(), ENCODERS[1]: Summary([], {})}
    for name in ("a", "b"):
        draw(summaries, tmp_path / name)
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert text == (tmp_path / "b").read_text(encoding="utf-8")
    titles = [one.title for one in SERVERS] + [one.title for one in ENCODERS]
    assert all(title in text for title in titles)


def test_ours_and_every_peer_have_a_row_on_the_same_engine_and_the_peers_another() -> None:
    keys = [one.key for one in SERVERS]
    assert len(set(keys)) == len(keys)
    assert SERVERS[0].title == OURS
    same = [one.peer for one in Summary.peers(eager=False)]
    assert same == [one.peer for one in Summary.peers(eager=True)]
    assert len(same) == 5


def test_the_peers_run_what_the_service_runs() -> None:
    """Another ONNX Runtime or Pillow would be another engine."""
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = (ROOT / "benchmarks" / "serving" / "requirements-peers.txt").read_text(encoding="utf-8").split()
    for name in ("onnxruntime", "pillow", "fastapi", "uvicorn", "orjson"):
        (pin,) = [one for one in pins if one.startswith(f"{name}==")]
        assert f"\n{pin} " in locked


def test_settled_networks_tell_pictures_apart() -> None:
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        embeddings = torch.nn.functional.normalize(settle(build("osnet"), pictures)(pictures))
    cosines = (embeddings @ embeddings.T)[~torch.eye(4, dtype=torch.bool)]
    assert cosines.max() < 0.99


def test_pictures_are_drawn_once(tmp_path: Path) -> None:
    first = draw_pictures(tmp_path, 2)
    assert first[0].read_bytes() != first[1].read_bytes()
    first[0].write_bytes(BODY)
    assert draw_pictures(tmp_path, 2)[0].read_bytes() == BODY
