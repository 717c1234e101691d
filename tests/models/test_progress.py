"""What a report of training says, by a clock that the tests move."""

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from models.batch_losses import batch_triplet_loss
from models.errors import OptionError
from models.progress import Report, ReportOptions
from tests.models.reports import LABELS, Clock, run


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "models.progress"]


def test_without_a_terminal_there_are_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock, file = Clock(), StringIO()
    options = ReportOptions(clock=clock, console=Console(file=file, force_terminal=False))
    with caplog.at_level(logging.INFO), Report(200, options=options) as report:
        run(report, range(1, 101), clock, seconds=0.5)
        loss, active = report.state()["loss"], report.state()["active"]
    start = f"step 100  loss {loss:.4f}  active {active:.2%}  36 pictures/s  0:00:50 left  50 %  50 s"
    assert [line[:7] for line in said(caplog)] == ["step 50", "step 10"]
    assert said(caplog)[1] == start
    assert file.getvalue() == ""


def test_slow_steps_leave_no_silence_beyond_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    options = ReportOptions(clock=clock, console=Console(force_terminal=False))
    with caplog.at_level(logging.INFO), Report(100, options=options) as report:
        run(report, range(1, 7), clock, seconds=15)
    assert [line[:6] for line in said(caplog)] == ["step 2", "step 4", "step 6"]


def test_on_a_terminal_there_is_a_bar_and_no_line(caplog: pytest.LogCaptureFixture) -> None:
    clock, file = Clock(), StringIO()
    console = Console(file=file, force_terminal=True, width=200, color_system=None)
    options = ReportOptions(clock=clock, console=console)
    with caplog.at_level(logging.INFO), Report(8, minutes=0.1, options=options) as report:
        run(report, [1, 2, 3], clock, seconds=1)
    assert "step 3  loss " in file.getvalue()
    assert "18 pictures/s  0:00:03 left" in file.getvalue()
    assert "50 %" in file.getvalue()
    assert said(caplog) == []


def test_a_resumed_run_tells_its_own_speed_and_starts_its_bar_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    options = ReportOptions(clock=clock, every=10, console=Console(force_terminal=False))
    state = {"step": 40, "seconds": 4000.0, "pictures": 40 * 18}
    with caplog.at_level(logging.INFO), Report(100, state=state, options=options) as report:
        run(report, range(41, 51), clock, seconds=0.5)
    assert said(caplog)[0].endswith("36 pictures/s  0:00:25 left  50 %  4005 s")


def test_a_quiet_report_counts_and_says_and_writes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, file = Clock(), StringIO()
    console = Console(file=file, force_terminal=True)
    options = ReportOptions(quiet=True, clock=clock, console=console, every=1)
    with caplog.at_level(logging.INFO), Report(4, folder=tmp_path, options=options) as report:
        run(report, [1, 2], clock)
        assert report.share_done(2) == 0.5
    assert (file.getvalue(), said(caplog), list(tmp_path.iterdir())) == ("", [], [])


def collapse(report: Report, step: int) -> None:
    x = torch.ones(18, 4)
    result = batch_triplet_loss(x, LABELS, mining="hard")
    report.step(step, result, x, LABELS, learning_rate=1.0, losses={}, gradient_norm=0.0)


def test_a_collapse_is_warned_of_once_and_not_again_after_an_interruption(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING), Report(100) as report:
        for step in range(3, 51):
            collapse(report, step)
        assert report.outcome(50)["collapse_warned"] is True
        with Report(100, state=report.state()) as resumed:
            collapse(resumed, 100)
    (message,) = said(caplog)
    assert message.startswith("Collapse: at step 12 all embeddings of the batch are at one point")
    assert "batch-all or semi-hard mining (--mining), a lower --learning-rate" in message


def test_a_few_batches_at_one_point_are_no_collapse(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Report(100, options=ReportOptions(every=1)) as report:
        for step in range(1, 24):
            if step % 10:
                collapse(report, step)
            else:
                run(report, [step], Clock())
    assert said(caplog) == []


def test_a_loss_stuck_at_its_margin_is_warned_of_well_after_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x = 1e-3 * torch.randn(18, 4, generator=torch.Generator().manual_seed(0))
    result = batch_triplet_loss(x, LABELS, mining="hard", margin=0.5)
    with caplog.at_level(logging.WARNING), Report(100, options=ReportOptions(margin=0.5, every=10)) as report:
        for step in range(1, 41):
            report.step(step, result, x, LABELS, learning_rate=1.0, losses={}, gradient_norm=0.0)
    (message,) = said(caplog)
    assert message.startswith("Collapse: at step 30 the loss stays at 0.50")


def test_healthy_training_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Report(10, options=ReportOptions(every=1)) as report:
        run(report, range(1, 11), Clock())
        assert report.outcome(10)["collapse_warned"] is False
    assert said(caplog) == []


def test_the_outcome_tells_how_it_went() -> None:
    clock = Clock()
    with Report(20, options=ReportOptions(clock=clock)) as report:
        run(report, range(1, 21), clock, seconds=9)
    state = report.state()
    assert report.outcome(20) == {
        "steps": 20,
        "minutes_taken": 3.0,
        "pictures_per_second": 2.0,
        "last_loss": round(state["loss"], 4),
        "last_active": round(state["active"], 4),
        "last_median_d_ap": round(state["d_ap"], 4),
        "last_median_d_an": round(state["d_an"], 4),
        "collapse_warned": False,
    }
    assert json.dumps(Report(20).outcome(0), allow_nan=False).count("null") == 4


@pytest.mark.parametrize("change", [{"every": 0}, {"margin": -1.0}])
def test_options_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(change))):
        ReportOptions(**change)
