"""The benchmark of the gallery: its data, what it counts as right, how it asks, sums up and writes."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load

from benchmarks.gallery import filters, limit, million, writes
from benchmarks.gallery.client import SAFETENSORS, AnswerError, ask, items_bodies, put_bodies, send_all
from benchmarks.gallery.data import Truth, exact, make_queries, make_vectors, recall
from benchmarks.gallery.faiss_index import build, kind_of, put_kind
from benchmarks.gallery.figures import Part, part_of
from benchmarks.gallery.ours import Lookalike, describe
from benchmarks.gallery.pgvector import latencies_ms
from benchmarks.gallery.plan import CLIENTS, FULL, QUICK, SHARES, K
from benchmarks.gallery.plotting import draw
from benchmarks.gallery.report import render
from benchmarks.gallery.searches import LIMIT, TARGETS
from benchmarks.gallery.summary import Summary, part
from benchmarks.gallery.targets import rows_of
from benchmarks.learning.records import Record
from benchmarks.serving.load import Form, run_load

ABOUT = {
    "command": "make x",
    "date": "2026-01-01",
    "machine": "m",
    "versions": "v",
    "peers": "chroma 1",
    "k": K,
    "recall": 0.99,
    "rounds": 3,
    "queries": 1_000,
    "image": "i.svg",
}


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


def server_record(per_s: float, **changed: Any) -> Record:
    figures = {"per_s": per_s, "p50_ms": 1.0, "p99_ms": 2.0, "failed": 0, "generator_cpu": 0.1}
    loads = {str(clients): {**figures} for clients in CLIENTS}
    return {"loads": loads, "recall": 0.995, "bytes": 3e8, "about": "HNSW", "filled_s": 10.0, **changed}


def summary(ours: float = 100.0, bare: float = 100.0, peer: float = 50.0, batches: float = 800.0) -> Summary:
    """Return a whole run of three rounds of ours and one of the others."""
    records = {one.key: [server_record(peer)] for one in TARGETS}
    records["bare"] = [server_record(bare)]
    own = {"batches": {"1": {"per_s": batches}, "4": {"per_s": batches / 2}}}
    records[Lookalike.key] = [server_record(ours * factor, **own) for factor in (0.5, 1.0, 3.0)]
    records[LIMIT] = [server_record(500.0, batch_per_s=1_000.0)]
    return Summary(records)


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


@pytest.mark.parametrize("share", SHARES)
def test_a_filter_lets_its_share_pass(share: float) -> None:
    for first in (0, 9_999, 123_456):
        bounds = filters.filter_of(share, first)["part"]
        assert bounds["lt"] - bounds["gte"] == max(1, round(10_000 * share))
        assert bounds["gte"] >= 0
        assert bounds["lt"] <= 10_000


def test_pgbenchs_latencies_are_read(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text(
        "0 1 0 3 17 999500\n1 1 0 0 17 999900\n0 2 9 1 18 1000\n1 2 0 0 17 999990\n", encoding="utf-8"
    )
    assert latencies_ms([tmp_path / "log.1"]) == pytest.approx([1.5, 0.09])


def test_flushes_are_counted_between_two_times() -> None:
    lines = [
        "12 99.5 fsync(3) = 0",
        "12 100.5 fdatasync(3 <unfinished ...>",
        "13 100.6 fsync(4)  = 0",
        "12 100.7 <... fdatasync resumed>) = 0",
        "13 100.8 --- SIGTERM ---",
        "12 103.0 fsync(3) = 0",
    ]
    assert writes.syncs_between(lines, 100.0, 102.0) == 2


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, []),
        ({"bare": 126.0}, ["0.8 times FastAPI"]),
        ({"peer": 51.0}, ["2 times Chroma", "2 times Milvus"]),
        ({"batches": 799.0}, ["batches of 64"]),
    ],
)
def test_every_aim_of_the_searches_is_judged_by_its_ratio(
    changed: dict[str, float], missed: list[str]
) -> None:
    found = [one.aim for one in part(50_000, summary(**changed)).criteria if not one.met]
    assert len(found) == len(missed)
    assert all(any(text in aim for aim in found) for text in missed)


def test_a_peer_without_figures_meets_nothing_and_says_why() -> None:
    whole = part(50_000, Summary({"lookalike": [], "chroma": [{"problem": "not installed: no wheel"}]}))
    assert not any(one.met for one in whole.criteria)
    rows = {row[0]: row for row in whole.rows}
    assert rows["Chroma"][2] == "not installed: no wheel"
    assert rows["pgvector"][2] == "not measured yet"
    assert {len(row) for row in whole.rows} == {len(whole.columns)}


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, 0),
        ({"short": 1}, 1),
        ({"recall": 0.9999}, 1),
        ({"passing": 60_000, "recall": 0.991}, 0),
        ({"passing": 60_000, "recall": 0.989}, 1),
        ({"p50_ms": 3.1}, 1),
        ({"other_p50_ms": 3.1}, 1),
        ({"p50_ms": 3.1, "scan_ms": 2.0}, 0),
    ],
)
def test_filters_are_exact_below_their_bound_and_never_short(changed: dict[str, Any], missed: int) -> None:
    given = {"share": 0.1, "passing": 20_000, "recall": 1.0, "short": 0, "p50_ms": 2.0}
    one = filters.Filtered(**{**given, "other_p50_ms": 2.5, "scan_ms": 0.5, **changed})
    assert sum(not criterion.met for criterion in filters.part(200_000, 1.0, [one]).criteria) == missed


def test_a_large_collection_is_judged_by_recall_by_p99_and_by_its_start() -> None:
    scale = million.Scale(1_000, 8, recall=0.995, quiet_p99_ms=2.0, importing_p99_ms=5.9, ready_s=9.0)
    assert all(one.met for one in million.part(scale).criteria)
    scale.importing_p99_ms, scale.ready_s, scale.recall = 6.1, 10.1, 0.98
    assert not any(one.met for one in million.part(scale).criteria)


@pytest.mark.parametrize(("syncs", "met"), [(100, True), (62, False), (0, False), (None, True)])
def test_upserts_are_durable_where_no_more_share_an_fsync_than_wait(syncs: int | None, met: bool) -> None:
    found = writes.part(writes.Writes([(1, 9_000.0), (4, 11_000.0)], 600.0, 30.0, 1_000, syncs))
    assert all(one.met for one in found.criteria) == met


def whole() -> tuple[list[Part], Part]:
    """Return the searches and the filters of a run."""
    given = {"recall": 1.0, "short": 0, "p50_ms": 2.0, "other_p50_ms": 2.5, "scan_ms": 0.5}
    found = [filters.Filtered(share=share, passing=100, **given) for share in SHARES]  # type: ignore[arg-type]
    return [part(size, summary()) for size in FULL.sizes], filters.part(200_000, 1.0, found)


def test_a_part_is_the_same_after_it_was_kept() -> None:
    _, filtered = whole()
    kept = part_of(json.loads(json.dumps(filtered.as_record())))
    assert render([kept], ABOUT) == render([filtered], ABOUT)
    assert kept.curves == filtered.curves


def test_the_section_has_every_server_and_what_was_not_met() -> None:
    searches, filtered = whole()
    text = render([*searches, filtered, part(7, summary(bare=126.0))], ABOUT)
    assert all(f"| {one.title} | {one.protocol} | HNSW | 0.9950 |" in text for one in TARGETS)
    assert "| 100 (50 to 300) |" in text
    assert text.count("**not met**") == 1
    assert "### Filtered searches" in text


def test_the_plot_has_its_panels_and_is_the_same_again(tmp_path: Path) -> None:
    searches, filtered = whole()
    for name in ("a", "b"):
        draw(searches, filtered, tmp_path / name)
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert text == (tmp_path / "b").read_text(encoding="utf-8")
    assert all(one.title in text for one in TARGETS)
    draw([], None, tmp_path / "empty")


def test_a_quick_run_measures_what_a_full_one_does() -> None:
    assert QUICK.batch == FULL.batch
    assert QUICK.queries >= limit.BATCH
    assert QUICK.checked <= QUICK.queries
    assert FULL.checked <= FULL.queries
