"""What the learning benchmark keeps, sums up, draws and writes."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.learning.__main__ import main
from benchmarks.learning.agreement import TASKS
from benchmarks.learning.arms import ARMS, OURS, PML, TORCH, UNTRAINED, Arm
from benchmarks.learning.plotting import draw
from benchmarks.learning.records import Record, Records
from benchmarks.learning.report import render
from benchmarks.learning.summary import Mean, Summary
from tests.benchmarks.learning_sets import PLAN

ABOUT = {"title": "Learning", "command": "make x", "machine": "m", "versions": "v", "image": "i.svg"}
NONE: dict[str, Record | None] = dict.fromkeys(TASKS)
MILLISECONDS = {OURS: 1.0, PML: 3.0, TORCH: 2.0, UNTRAINED: 0.0}


def trained(arm: Arm, seed: int, **changed: Any) -> Record:
    """Return a result with a mAP of .5 and .52 for the two seeds."""
    steps = 0 if arm.by == UNTRAINED else 10
    return {
        "date": "2026-01-01",
        "train": "drawn/train",
        "val": "drawn/val",
        "losses": [0.3 - 0.01 * step for step in range(steps)],
        "seconds": [99.0] * 5 + [MILLISECONDS[arm.by] / 1000] * (steps - 5) if steps else [],
        "rank_1": 0.6,
        "map": 0.5 + 0.02 * seed,
        "cosine_same": 0.8,
        "cosine_different": 0.1,
        **changed,
    }


def summary(**changed: Any) -> Summary:
    """Return the summary of a whole run; `changed` is what ours with batch-hard has instead."""
    ours = Arm(OURS, "hard")
    return Summary(
        PLAN,
        {
            (arm, seed): trained(arm, seed, **(changed if arm == ours else {}))
            for arm in ARMS
            for seed in (0, 1)
        },
        {(Arm(by, "hard"), 0): {"losses": [0.3, 0.2 + 1e-7 * (by == PML)]} for by in (OURS, PML, TORCH)},
    )


def test_a_mean_has_its_standard_error() -> None:
    assert asdict(Mean.of([1.0, 2.0, 3.0])) == pytest.approx({"value": 2.0, "error": 1 / 3**0.5})
    assert Mean.of([4.0]) == Mean(4.0, 0.0)


def test_times_are_medians_without_the_first_steps() -> None:
    found = summary()
    assert found.milliseconds(Arm(TORCH, "all")) == pytest.approx(2.0)
    assert found.milliseconds(Arm(UNTRAINED)) is None
    assert found.is_faster("hard") is True
    assert summary(seconds=[0.0025] * 10).is_faster("hard") is False


def test_losses_are_compared_with_ours() -> None:
    found = summary(losses=[0.5, *[0.3 - 0.01 * step for step in range(1, 10)]])
    assert found.loss_difference(Arm(PML, "hard"), float64=False) == pytest.approx(0.2)
    assert found.loss_difference(Arm(PML, "all"), float64=False) == 0
    assert found.loss_difference(Arm(PML, "hard"), float64=True) == pytest.approx(1e-7)
    assert found.agrees("hard") is True
    assert found.agrees("all") is None


@pytest.mark.parametrize(("value", "is_no_worse"), [(0.51, True), (0.491, True), (0.48, False)])
def test_precision_may_be_two_standard_errors_below(value: float, is_no_worse: bool) -> None:
    # The peers have 0.51 with a standard error of 0.01; ours has none.
    found = summary(map=value)
    assert np.array(found.no_worse("hard")) == pytest.approx([value - 0.51, 0.01])
    assert found.is_no_worse("hard") is is_no_worse


def test_one_seed_has_no_standard_error_to_judge_by() -> None:
    whole = summary()
    alone = Summary(replace(PLAN, seeds=(0,)), whole.trained, {})
    assert alone.missing() == []
    assert alone.is_no_worse("hard") is None


def test_a_missing_seed_leaves_the_verdict_open_and_is_named() -> None:
    whole = summary()
    arm = Arm(PML, "hard")
    part = Summary(PLAN, {key: found for key, found in whole.trained.items() if key != (arm, 1)}, {})
    assert part.missing() == ["PML, hard (seed 1)"]
    assert part.is_no_worse("hard") is None
    text = render(part, NONE, ABOUT)
    assert "**Not measured yet: PML, hard (seed 1).**" in text
    assert "standard errors of the difference: not known yet." in text


def test_the_section_says_what_is_met() -> None:
    text = render(summary(), NONE, ABOUT)
    assert "- Batch-hard: first 20 losses within 0.0001: 1e-07: met." in text
    assert "- Batch-all: first 20 losses within 0.0001: not known yet." in text
    assert "faster than either: Lookalike 1.00 ms, PML 3.00 ms, plain torch 2.00 ms: met." in text
    assert (
        "| Batch-hard, PML | 2 | 0.600 ± 0.000 | 0.510 ± 0.010 | 0.80 / 0.10 | 1e-07 | 0e+00 | 3.00 ms |"
        in text
    )
    assert "Not measured yet:" not in text
    assert "**missed**" in render(summary(map=0.1), NONE, ABOUT)


@pytest.mark.parametrize(("plain", "said"), [(0.75, "met."), (0.751, "**missed**.")])
def test_evaluations_must_be_equal(plain: float, said: str) -> None:
    found = {"figures": {"AUC": [0.75, plain], "genuine pairs": [1100, 1100]}, "largest": 2e-8}
    text = render(summary(), {"An encoder": found}, ABOUT)
    assert f"| AUC | 0.750000 | {plain:.6f} |" in text
    assert "| genuine pairs | 1,100 | 1,100 |" in text
    assert f"(at most 0.0001 and 1e-06): {said}" in text


def test_a_report_of_nothing_can_be_written(tmp_path: Path) -> None:
    empty = Summary(PLAN, {}, {})
    draw(empty, tmp_path / "empty.svg")
    assert "Nothing trained yet" in render(empty, NONE, ABOUT)


def test_the_plot_is_the_same_for_the_same_results(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        draw(summary(), tmp_path / name)
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert "Batch-hard" in drawn
    assert "plain torch, all" in drawn


def test_results_of_another_plan_are_not_used(tmp_path: Path) -> None:
    records = Records(tmp_path, asdict(PLAN))
    records.put("one", {"losses": [0.5]})
    assert Records(tmp_path, asdict(PLAN)).get("one") == {"losses": [0.5]}
    assert Records(tmp_path, asdict(PLAN) | {"steps": 7}).get("one") is None
    assert records.get("two") is None
    records.forget()
    assert records.get("one") is None


def test_the_command_writes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "benchmarks.md"
    options = ["--report", "--quick", "--results", str(tmp_path / "results"), "--document", str(document)]
    monkeypatch.setattr(sys, "argv", ["learning", *options])
    assert main() == 0
    assert "<!-- bench-learning -->" in document.read_text()
    assert (tmp_path / "images" / "learning.svg").is_file()
