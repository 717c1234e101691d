"""What the benchmark of the core keeps, and the document that it writes."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.core.cases import Case, quick_cases
from benchmarks.core.children import FailedError, TimedOutError
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
    "left_out": "Nothing is left out.",
    **FLOORS,
}

BATCH_ALL = Case("batch_all", 1280, 128, 4)
AIMED_AT = [
    BATCH_ALL,
    Case("batch_all", 16384, 128, 4),
    Case("batch_all", 1024, 128, 32),
    Case("batch_all", 16384, 512, 4),
    Case("batch_hard", 8192, 128, 4),
    Case("distances", 4096, 512, backward=False),
    Case("distances", 4096, 512, data="near", backward=False),
]
# A section has all groups.
EVERYTHING = [
    *AIMED_AT[:5],
    Case("semi_hard", 128, 128, 4),
    *AIMED_AT[5:],
    Case("metrics", 1024, 128, metric="cosine", backward=False),
]


class Measured:
    """Stands for the child processes: every call takes as long as its peer is slow.

    Args:
        seconds: of each peer's call; 1 where it is not named.
        times_out: the peer whose calls take too long.
        fails: the job that fails.
        losses: of each peer; 0.5 where it is not named.
        size: of the extra memory.
    """

    def __init__(
        self,
        seconds: dict[str, float],
        *,
        times_out: str = "",
        fails: str = "",
        losses: dict[str, float] | None = None,
        size: int | None = 5_000_000,
    ) -> None:
        self._seconds = seconds
        self._times_out = times_out
        self._fails = fails
        self._losses = losses or {}
        self._size = size
        self.asked: list[str] = []

    def run(self, function: Any, *arguments: Any, timeout_s: float) -> dict[str, Any]:
        name = function.__name__
        self.asked.append(name)
        assert timeout_s > 0
        if name == self._fails:
            raise FailedError("ValueError: no | such luck")
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
        loss = self._losses.get(arguments[1], 0.5)
        return {"seconds": self._seconds.get(arguments[1], 1.0), "bytes": self._size, "loss": loss}


def runner(path: Path, children: Any) -> Runner:
    return Runner(Results(path), children, Limits(12e9), "cpu")


def measured(path: Path, children: Measured, cases: list[Case]) -> Figures:
    runner(path / "core.jsonl", children).run(cases)
    return Figures(Results(path / "core.jsonl"))


def met(figures: Figures) -> list[bool]:
    """Return of each aim whether it is met, in the order of the table."""
    return [line.endswith("| yes |") for line in headline_table(figures, AIMED_AT).splitlines()[2:]]


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
    assert figures.why_not(sizes[1], "streamed pairs") == "over 320 s, extrapolated"
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
    # The sizes that are aimed at are none of a quick run's; all else has its figures.
    aims, rest = text.split("### Batch-all", 1)
    assert aims.count("not measured") > 0
    assert "not measured" not in rest
    assert "| 128 | 250 ms, 5 MB | 1 s (4 x), 5 MB |" in text
    for title in ("Batch-all", "Batch-hard", "Semi-hard", "Euclidean distances", "Other metrics"):
        assert f"### {title}\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    # Each case has its row, and the forward distances one more, of how right they are.
    assert len(rows) >= len(cases) + sum(case.group == "distances" and not case.backward for case in cases)
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    draw(figures, cases, first)
    draw(figures, cases, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 300_000


def test_aims_are_met_or_not(tmp_path: Path) -> None:
    seconds = {OURS: 1.0, "PML": 19.0, "plain sorted": 0.9, "cdist, product": 0.5}
    figures = measured(tmp_path, Measured(seconds), AIMED_AT)
    # PML's time and memory, its time at K = 32, both large batches, the simple forms, PML's time and memory
    # again, mined rows, and of both kinds of rows the time over cdist and what is near zero.
    assert met(figures) == [False, False, False, True, True, True, True, False, True, False, True, True, True]


def test_an_aim_without_a_figure_is_missed_and_says_why(tmp_path: Path) -> None:
    figures = measured(tmp_path, Measured({}, times_out=OURS), AIMED_AT)
    # The checks of mined rows and of distances near zero are made apart.
    others = [True, False, True, False, True]
    assert met(figures) == [*[False] * 8, *others]
    rows = headline_table(figures, AIMED_AT).splitlines()[2:]
    assert all(
        "Lookalike: over 180 s" in row for row, is_met in zip(rows, met(figures), strict=True) if not is_met
    )
    assert "Ours has no figure at N = 1280, K = 4, D = 128" in render(figures, EVERYTHING, RUN, "core.svg")


def test_an_aim_that_was_not_measured_is_missed(tmp_path: Path) -> None:
    assert met(Figures(Results(tmp_path / "core.jsonl"))) == [False] * 13


def test_a_peer_too_large_to_run_is_said_to_be(tmp_path: Path) -> None:
    figures = measured(tmp_path, Measured({}, times_out="PML"), AIMED_AT)
    assert "| PML: over 45 s | **no** |" in headline_table(figures, AIMED_AT)


def test_memory_that_is_unknown_meets_no_aim(tmp_path: Path) -> None:
    figures = measured(tmp_path, Measured({"PML": 100.0}, size=None), AIMED_AT)
    found = met(figures)
    assert (found[0], found[1], found[3], found[4], found[7]) == (True, False, False, False, False)


@pytest.mark.parametrize("job", ["measure_mined", "measure_accuracy"])
def test_a_check_that_failed_meets_no_aim(tmp_path: Path, job: str) -> None:
    figures = measured(tmp_path, Measured({}, fails=job), AIMED_AT)
    missed = [8] if job == "measure_mined" else [10, 12]
    assert not any(met(figures)[place] for place in missed)
    assert "failed: ValueError: no / such luck" in render(figures, EVERYTHING, RUN, "core.svg")


def test_mined_rows_are_not_called_all_where_a_size_failed(tmp_path: Path) -> None:
    sizes = [Case("batch_hard", n, 128, 4) for n in (512, 8192)]
    measured(tmp_path, Measured({}), sizes[:1])
    text = headline_table(measured(tmp_path, Measured({}, fails="measure_mined"), sizes), sizes)
    assert "2 of 2 anchors; not compared at N = 8192, K = 4, D = 128 (failed:" in text
    assert "**no**" in next(line for line in text.splitlines() if "mined rows" in line)


def test_times_of_a_first_call_are_marked_and_explained(tmp_path: Path) -> None:
    figures = measured(tmp_path, Measured({}, fails="measure_times"), AIMED_AT)
    assert "(1 s*; 1 s*)" in headline_table(figures, AIMED_AT)
    text = render(figures, EVERYTHING, RUN, "core.svg")
    assert "came to nothing: batch-all, N = 1280, K = 4, D = 128 (failed: ValueError: no / such luck)" in text


def test_a_median_far_above_the_fastest_call_is_marked(tmp_path: Path) -> None:
    results = Results(tmp_path / "core.jsonl")
    results.add("memory", BATCH_ALL, OURS, seconds=0.6, bytes=None, loss=None)
    results.add("memory", BATCH_ALL, "PML", seconds=0.9, bytes=None, loss=None)
    results.add("times", BATCH_ALL, seconds={OURS: [1.0, 1.0, 1.0], "PML": [1.0, 1.0, 1.0]})
    assert "1.0 times (≈ 1 s; 1 s)" in headline_table(Figures(results), [BATCH_ALL])


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({}, "agree within 0e+00 (relative, 3 compared)"),
        ({OURS: 0.50001}, "agree within 2e-05 (relative, 3 compared)"),
        ({OURS: 0.0}, "agree within 1e+00 (relative, 3 compared)"),
        ({OURS: math.nan}, "disagree: one of them is not finite"),
        ({"PML": math.nan}, "disagree: one of them is not finite"),
        ({"plain sorted": math.inf}, "disagree: one of them is not finite"),
    ],
)
def test_losses_that_differ_are_said_to(tmp_path: Path, losses: dict[str, float], said: str) -> None:
    figures = measured(tmp_path, Measured({}, losses=losses), [BATCH_ALL])
    text = render(figures, EVERYTHING, RUN, "core.svg")
    assert said in text.split("### Batch-all")[1].split("### Batch-hard")[0]
    assert "were not compared" in text.split("### Semi-hard")[1]


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
