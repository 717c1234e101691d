"""The benchmark of the gallery: its data, what it counts as right, and how it asks."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import numpy as np
import orjson
import pytest
from safetensors.numpy import load

from benchmarks.gallery import limit
from benchmarks.gallery.client import SAFETENSORS, AnswerError, ask, items_bodies, put_bodies, send_all
from benchmarks.gallery.data import Truth, exact, make_queries, make_vectors, recall
from benchmarks.gallery.faiss_index import build, kind_of, put_kind
from benchmarks.gallery.ours import Lookalike, describe
from benchmarks.gallery.plan import K
from benchmarks.gallery.targets import rows_of
from benchmarks.serving.load import Form, run_load


class Keeps(BaseHTTPRequestHandler):
    """Answers every post with {} and keeps what came."""

    protocol_version = "HTTP/1.1"
    status = 200
    came: list[tuple[str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.came.append((self.headers["content-type"], self.headers.get("accept", ""), body))
        self.send_response(self.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


@contextmanager
def keeping(status: int = 200) -> Iterator[tuple[int, list[tuple[str, str, bytes]]]]:
    """Serve; yield the port and what comes: content type, accept and body."""
    came: list[tuple[str, str, bytes]] = []
    handler = type("Handler", (Keeps,), {"came": came, "status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port, came
        server.shutdown()
        thread.join()


def test_vectors_are_unit_clustered_and_the_same_again() -> None:
    vectors = make_vectors(4_000, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors, make_vectors(4_000, 32))
    same = np.sum(vectors[:2_000] * vectors[2_000:], axis=1)  # row i + 2,000 is of the identity of row i
    other = np.sum(vectors[:1_999] * vectors[2_001:], axis=1)
    assert same.mean() > 0.4
    assert abs(other.mean()) < 0.05


def test_further_vectors_are_new_draws_of_the_same_identities() -> None:
    vectors, further = make_vectors(4_000, 32), make_vectors(2_000, 32, first=4_000)
    assert np.sum(vectors[:2_000] * further, axis=1).mean() > 0.4
    assert not np.any(np.all(vectors[:2_000] == further, axis=1))


def test_exact_is_what_a_loop_finds() -> None:
    vectors, queries = make_vectors(500, 16), make_queries(5, 500, 16)
    truth = exact(vectors, queries, 7)
    for query, rows, farthest in zip(queries, truth.rows, truth.farthest, strict=True):
        similarities = [float(np.dot(query, one)) for one in vectors]
        assert sorted(range(500), key=lambda row: -similarities[row])[:7] == rows.tolist()
        assert farthest == pytest.approx(sorted(similarities)[-7], abs=1e-6)


def test_recall_counts_ties_and_no_row_twice() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1], [-1, 0]], np.float32)
    queries = np.array([[1, 0]], np.float32)
    truth = Truth(np.array([[0, 1]]), np.array([0.0], np.float32))
    assert recall(vectors, queries, truth, [[0, 1]]) == 1
    assert recall(vectors, queries, truth, [[2, 0]]) == 1  # as near as row 1
    assert recall(vectors, queries, truth, [[0, 3]]) == 0.5
    assert recall(vectors, queries, truth, [[0, 0]]) == 0.5
    assert recall(vectors, queries, truth, [[0, 1, 2]]) == 1
    assert recall(vectors, queries, truth, [[]]) == 0


def test_bodies_of_items_hold_every_row_with_its_id_once() -> None:
    vectors = make_vectors(5, 4)
    metadata = [{"part": row} for row in range(5)]
    with_safetensors = list(items_bodies(vectors, 2, first=10, metadata=metadata))
    rows = np.concatenate([load(body)["vector"] for body in with_safetensors])
    np.testing.assert_array_equal(rows, vectors)
    headers = [json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")]) for body in with_safetensors]
    items = [item for one in headers for item in json.loads(one["__metadata__"]["json"])["items"]]
    assert items == [{"id": f"p{10 + row}", "metadata": {"part": row}} for row in range(5)]
    assert rows_of([item["id"] for item in items]) == [10, 11, 12, 13, 14]


def test_every_body_is_sent_once_by_several_clients() -> None:
    bodies = [f"{number}".encode() for number in range(70)]
    with keeping() as (port, came):
        assert send_all(port, "/items", iter(bodies), clients=3, content_type="text/plain") > 0
    assert sorted(body for _, _, body in came) == sorted(bodies)
    assert {content_type for content_type, _, _ in came} == {"text/plain"}


def test_a_refusal_is_no_answer() -> None:
    with keeping(503) as (port, _), pytest.raises(AnswerError, match="POST /items: 503"):
        send_all(port, "/items", iter([b"x"]), clients=1, content_type="text/plain")


def test_numbers_of_a_query_arrive_as_they_are() -> None:
    query = make_queries(1, 100, 8)[0]
    with keeping() as (port, came):
        ask(port, "POST", "/search", Lookalike().body(query, 0))
    asked = orjson.loads(came[0][2])
    np.testing.assert_array_equal(np.asarray(asked["queries"], np.float32), query[None])
    assert asked["k"] == K


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: apt-get install wrk")
def test_the_load_cycles_through_the_bodies_and_asks_for_a_media_type(tmp_path: Path) -> None:
    bodies = [bytes([number, 0, 10, 13]) for number in range(3)]
    listed = put_bodies(bodies, tmp_path / "bodies")
    form = Form("safetensors", "/search", SAFETENSORS, None, (), SAFETENSORS)
    with keeping() as (port, came):
        run_load(f"http://127.0.0.1:{port}", form, {False: listed}, clients=1, seconds=1)
    numbers = [body[0] for _, _, body in came]
    assert len(numbers) > 3
    assert {body for _, _, body in came} == set(bodies)
    assert all(after == (before + 1) % 3 for before, after in pairwise(numbers))
    assert {(content_type, accept) for content_type, accept, _ in came} == {(SAFETENSORS, SAFETENSORS)}


def test_the_loop_finds_what_an_exact_scan_does_where_its_index_is_flat(tmp_path: Path) -> None:
    vectors, queries = make_vectors(300, 16), make_queries(80, 300, 16)
    np.save(tmp_path / "vectors.npy", vectors)
    np.save(tmp_path / "queries.npy", queries)
    put_kind(tmp_path, {"chosen": "flat"})
    path = str(build(tmp_path, tmp_path / "vectors.npy"))
    found = limit.found(path, 0, str(tmp_path / "queries.npy"))["rows"]
    assert found == exact(vectors, queries, K).rows.tolist()
    measured = limit.measure(path, 0, str(tmp_path / "queries.npy"), (1, 2), 0.05)
    assert all(measured["loads"][clients]["per_s"] > 0 for clients in ("1", "2"))
    assert measured["batch_per_s"] > 0


def test_the_others_have_the_graph_that_ours_has(tmp_path: Path) -> None:
    assert kind_of(tmp_path) == {"kind": "hnsw", "m": 32, "ef_construction": 80}
    put_kind(tmp_path, {"chosen": "hnsw", "m": 24, "ef_construction": 90, "state": "ready"})
    assert kind_of(tmp_path) == {"kind": "hnsw", "m": 24, "ef_construction": 90}
    np.save(tmp_path / "vectors.npy", make_vectors(100, 8))
    first = build(tmp_path, tmp_path / "vectors.npy")
    written = first.stat().st_mtime_ns
    assert build(tmp_path, tmp_path / "vectors.npy").stat().st_mtime_ns == written


def test_an_index_is_described_by_what_it_has() -> None:
    assert describe({"chosen": "flat", "state": "ready"}) == "flat"
    assert describe({"chosen": "hnsw", "m": 32, "quantization": "none"}) == "hnsw, m 32"
