"""What the benchmark of the core keeps, and the document that it writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.core.cases import Case, quick_cases
from benchmarks.core.children import TimedOutError
from benchmarks.core.document import put_section
from benchmarks.core.figures import Figures, as_bytes, as_ratio, as_seconds, table
from benchmarks.core.headlines import headline_table
from benchmarks.core.peers import OURS, peers_of
from benchmarks.core.plotting import draw
from benchmarks.core.report import render
from benchmarks.core.results import Results
from benchmarks.core.running import Limits, Runner, rounds_of

FLOORS = {"flops_per_s": 1e11, "bytes_per_s": 1e10}
RUN = {
    "title": "The core",
    "date": "2026-01-02",
    "command": "make bench-core",
    "machine": "A machine",
    "versions": "torch",
    "peer_bytes": 12e9,
    "peer_timeout_s": 60.0,
    **FLOORS,
}


class Measured:
    """Stands for the child processes: every call takes as long as its peer is slow."""

    def __init__(self, seconds: dict[str, float], *, times_out: str = "") -> None:
        self._seconds = seconds
        self._times_out = times_out
        self.asked: list[str] = []

    def run(self, function: Any, *arguments: Any, timeout_s: float) -> dict[str, Any]:
        name = function.__name__
        self.asked.append(name)
        assert timeout_s > 0
        if name == "measure_floors":
            return dict(FLOORS)
        if name == "measure_times":
            return {peer: [self._seconds.get(peer, 1.0)] * count for peer, count in arguments[1].items()}
        if name == "measure_mined":
            return {"anchors": 2, "same": 2}
        if name == "measure_accuracy":
            return {peer: {"on_equal": 0.0, "near_error": 1e-7, "nan": 0} for peer in peers_of(arguments[0])}
        if arguments[1] == self._times_out:
            raise TimedOutError
        return {"seconds": self._seconds.get(arguments[1], 1.0), "bytes": 5_000_000, "loss": 0.5}


def runner(path: Path, children: Any) -> Runner:
    return Runner(Results(path), children, Limits(12e9), "cpu")


def test_results_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results" / "core.jsonl"
    case = Case("batch_all", 128, 32, 4)
    results = Results(path)
    results.add("memory", case, OURS, seconds=1.0)
    with path.open("a") as file:
        file.write('{"job": "mem')
    again = Results(path)
    assert again.get("memory", case, OURS) == results.get("memory", case, OURS)
    assert len(again) == 1
    again.add("times", case, seconds={})
    assert [json.loads(line)["job"] for line in path.read_text().splitlines()] == ["memory", "times"]
    again.forget()
    assert len(Results(path)) == 0


def test_a_second_run_measures_only_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "core.jsonl"
    cases = quick_cases()
    runner(path, Measured({})).run(cases[:3])
    going_on = Measured({})
    runner(path, going_on).run(cases[:4])
    assert going_on.asked == ["measure_memory"] * 5 + ["measure_times"]


def test_what_is_hopeless_is_not_tried(tmp_path: Path) -> None:
    sizes = [Case("batch_all", n, 128, 4) for n in (1024, 4096, 16384)]
    children = Measured({"streamed pairs": 20.0, "plain sorted": 1.0}, times_out="dense mask")
    runner(tmp_path / "core.jsonl", children).run(sizes)
    figures = Figures(Results(tmp_path / "core.jsonl"))
    assert figures.why_not(sizes[0], "dense mask").startswith("needs about 19 GB")
    assert figures.of(sizes[0], "streamed pairs") is not None
    assert figures.why_not(sizes[1], "streamed pairs") == "about 320 s, extrapolated"
    assert figures.of(sizes[1], "plain sorted") is not None
    assert figures.of(sizes[2], OURS) is not None


def test_a_peer_that_times_out_is_said_to(tmp_path: Path) -> None:
    case = Case("batch_all", 128, 32, 4)
    runner(tmp_path / "core.jsonl", Measured({}, times_out="PML")).run([case])
    assert Figures(Results(tmp_path / "core.jsonl")).why_not(case, "PML") == "over 45 s"


def test_slow_calls_are_repeated_less() -> None:
    assert [rounds_of(seconds) for seconds in (1e-4, 0.3, 1.0, 6.0, 30.0)] == [15, 5, 3, 1, 0]


def test_the_section_has_every_group_and_figure(tmp_path: Path) -> None:
    cases = quick_cases()
    runner(tmp_path / "core.jsonl", Measured({OURS: 0.25})).run(cases)
    figures = Figures(Results(tmp_path / "core.jsonl"))
    text = render(figures, cases, RUN, "images/core.svg")
    assert "not measured" not in text
    assert "| 128 | 250 ms, 5 MB | 1 s (4 x), 5 MB |" in text
    for title in ("Batch-all", "Batch-hard", "Semi-hard", "Euclidean distances", "Other metrics"):
        assert f"### {title}\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 2 * len(cases) / 2
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    draw(figures, cases, first)
    draw(figures, cases, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 300_000


def test_aims_are_met_or_not(tmp_path: Path) -> None:
    cases = [Case("batch_all", 1280, 128, 4), Case("batch_hard", 8192, 128, 4)]
    cases.append(Case("distances", 4096, 512, backward=False))
    seconds = {OURS: 1.0, "PML": 19.0, "plain sorted": 0.9, "cdist, product": 0.5}
    runner(tmp_path / "core.jsonl", Measured(seconds)).run(cases)
    text = headline_table(Figures(Results(tmp_path / "core.jsonl")), cases)
    met = [line.split(" | ")[-1].strip(" |") for line in text.splitlines()[2:]]
    # PML's time and memory, the simple forms, PML's time and memory again, indices, cdist, near zero.
    assert met == ["**no**", "**no**", "yes", "yes", "**no**", "yes", "**no**", "yes"]


def test_numbers_are_short() -> None:
    assert [as_seconds(value) for value in (123.4, 1.2345, 0.01234, 1.2e-5)] == [
        "123 s",
        "1.23 s",
        "12.3 ms",
        "12 µs",
    ]
    assert [as_bytes(value) for value in (None, 5, 39e6, 2.234e9)] == ["—", "< 1 MB", "39 MB", "2.23 GB"]
    assert [as_ratio(value) for value in (0.123, 1.26, 28.4)] == ["0.12", "1.3", "28"]
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --: |\n| 1 | 2 |"


def test_a_section_leaves_the_rest_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "benchmarks.md"
    put_section(path, "bench-core", "one")
    path.write_text(path.read_text() + "\n<!-- bench-search -->\nkept\n<!-- /bench-search -->\n")
    put_section(path, "bench-core", "two\n")
    text = path.read_text()
    assert text.startswith("# Benchmarks\n")
    assert "<!-- bench-core -->\ntwo\n<!-- /bench-core -->\n" in text
    assert "one" not in text.split("<!-- bench-core -->")[1]
    assert text.endswith("\n<!-- bench-search -->\nkept\n<!-- /bench-search -->\n")
    path.write_text("<!-- bench-core -->\n")
    with pytest.raises(ValueError, match="only one of"):
        put_section(path, "bench-core", "three")
