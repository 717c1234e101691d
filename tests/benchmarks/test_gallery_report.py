"""The benchmark of the gallery: what its figures come to, how they are judged, and what is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gallery import filters, limit, million, writes
from benchmarks.gallery.figures import Part, part_of
from benchmarks.gallery.ours import Lookalike
from benchmarks.gallery.pgvector import latencies_ms
from benchmarks.gallery.plan import CLIENTS, FULL, QUICK, SHARES, K
from benchmarks.gallery.plotting import draw
from benchmarks.gallery.report import render
from benchmarks.gallery.searches import LIMIT, TARGETS
from benchmarks.gallery.summary import Summary, part
from benchmarks.learning.records import Record

ABOUT = {
    "command": "make x",
    "date": "2026-01-01",
    "machine": "m",
    "versions": "v",
    "peers": "chroma 1",
    "k": K,
    "recall": 0.99,
    "rounds": 3,
    "rest": 6,
    "checked": 5_000,
    "queries": 1_000,
    "image": "i.svg",
}


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
    one = filters.Filtered(**{**given, "other_p50_ms": 2.5, "scan_ms": 0.5, "scattered_ms": 0.8, **changed})
    assert sum(not criterion.met for criterion in filters.part(200_000, 1.0, [one]).criteria) == missed


def test_another_filter_each_time_is_judged_beside_rows_that_lie_together_and_told_beside_scattered() -> None:
    one = filters.Filtered(0.1, 20_000, 1.0, 0, p50_ms=1.0, other_p50_ms=3.5, scan_ms=0.5, scattered_ms=2.0)
    *_, other = filters.part(200_000, 1.0, [one]).criteria
    assert (other.found, other.met) == ("3.50 times (1.75 where they lie)", False)


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
    given = {
        "recall": 1.0,
        "short": 0,
        "p50_ms": 2.0,
        "other_p50_ms": 2.5,
        "scan_ms": 0.5,
        "scattered_ms": 0.8,
    }
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
    assert QUICK.checked >= QUICK.queries
    assert FULL.checked >= FULL.queries
