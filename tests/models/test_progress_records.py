"""What a report of training writes and remembers, by a clock that the tests move."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.batch_losses import batch_triplet_loss
from models.progress import Report, ReportOptions
from models.training_log import JSON_LINES
from tests.models.reports import LABELS, Clock, batch, run, take


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JSON_LINES).read_text("utf-8").splitlines()]


def distances(x: Tensor, metric: str) -> npt.NDArray[np.float64]:
    rows = x.double().numpy()
    differences = rows[:, None] - rows[None]
    if metric == "manhattan":
        return np.asarray(np.abs(differences).sum(-1))
    return np.asarray(np.sqrt((differences**2).sum(-1)))


@pytest.mark.parametrize(("metric", "normalize"), [("euclidean", True), ("manhattan", False)])
def test_a_record_holds_the_numbers_of_its_step(tmp_path: Path, metric: str, normalize: bool) -> None:
    clock = Clock()
    options = ReportOptions(metric=metric, normalize=normalize, every=2, clock=clock)
    means: dict[str, float] = {}
    with Report(5, folder=tmp_path, options=options) as report:
        for step in range(1, 6):
            clock.seconds += 0.5
            take(report, step)
            result, _ = batch(step)
            for name, value in (("loss", float(result.loss)), ("active", result.fraction_active)):
                means[name] = means.get(name, value) + 0.05 * (value - means.get(name, value))
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 5]

    line, (result, x) = lines(tmp_path)[-1], batch(5)
    d = distances(F.normalize(x) if normalize else x, metric)
    same = LABELS.numpy()[:, None] == LABELS.numpy()
    for name, pairs in (("d_ap", same & ~np.eye(18, dtype=bool)), ("d_an", ~same)):
        quantiles = [line.pop(f"{name}/q{share}") for share in ("05", "25", "50", "75", "95")]
        assert quantiles == pytest.approx(np.quantile(d[pairs], [0.05, 0.25, 0.5, 0.75, 0.95]), rel=1e-5)
    cosines = F.normalize(x.double()) @ F.normalize(x.double()).T
    assert line.pop("mean_cosine") == pytest.approx(float(cosines.mean()), rel=1e-4)
    assert line == {
        "step": 5,
        "share_done": 1.0,
        "minutes": 2.5 / 60,
        "loss": float(result.loss),
        "loss_mean": pytest.approx(means["loss"]),
        "active": result.active_triplets / (18 * 2 * 15),
        "active_mean": pytest.approx(means["active"]),
        "triplets/easy": result.easy,
        "triplets/semi_hard": result.semi_hard,
        "triplets/hard": result.hard,
        "skipped_anchors": 0,
        "losses/triplet": float(result.loss),
        "losses/identity": 0.2,
        "learning_rate": 0.5**5,
        "gradient_norm": 1.5,
        "seconds_per_step": 0.5,
        "pictures_per_second": 36.0,
    }


@pytest.mark.parametrize("checkpoint", [30, 35])
def test_a_resumed_run_leaves_the_records_of_an_uninterrupted_one(tmp_path: Path, checkpoint: int) -> None:
    clock = Clock()
    options = ReportOptions(every=10, clock=clock)
    with Report(60, folder=tmp_path / "whole", options=options) as whole:
        run(whole, range(1, 61), clock)
        end = whole.state()

    with Report(60, folder=tmp_path / "parts", options=options) as report:
        run(report, range(1, checkpoint + 1), clock)
        state = json.loads(json.dumps(report.state(), allow_nan=False))
        run(report, range(checkpoint + 1, 48), clock)
    clock.seconds += 3600
    with Report(60, folder=tmp_path / "parts", state=state, options=options) as report:
        assert report.state() == state
        run(report, range(checkpoint + 1, 61), clock)
        assert report.state() == end
    assert [line["step"] for line in lines(tmp_path / "parts")] == [10, 20, 30, 40, 50, 60]
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_state_before_the_first_step_is_one_of_numbers_too() -> None:
    report = Report(10, options=ReportOptions(clock=Clock()))
    state = json.loads(json.dumps(report.state(), allow_nan=False))
    assert all(isinstance(value, int | float) for value in state.values())
    assert Report(10, state=state, options=ReportOptions(clock=Clock())).share_done(0) == 0.0


def test_minutes_before_an_interruption_count_and_those_between_do_not() -> None:
    clock = Clock()
    options = ReportOptions(clock=clock)
    with Report(1, minutes=2, options=options) as report:
        clock.seconds += 30
        assert report.share_done(0) == 0.25
        take(report, 1)
        state = report.state()
    clock.seconds += 3600
    with Report(1, minutes=2, state=state, options=options) as report:
        assert report.share_done(1) == 0.25
        clock.seconds += 60
        assert report.share_done(1) == 0.75
        assert report.outcome(1)["minutes_taken"] == 1.5


def test_the_step_that_uses_up_the_time_is_the_last_and_is_recorded(tmp_path: Path) -> None:
    clock = Clock()
    with Report(1, minutes=1, folder=tmp_path, options=ReportOptions(clock=clock)) as report:
        step = 0
        while report.share_done(step) < 1:
            step += 1
            clock.seconds += 25
            take(report, step)
            clock.seconds += 9.9  # the loop does something else, and must not stop unrecorded for that
    assert (step, [line["step"] for line in lines(tmp_path)]) == (3, [3])


def test_time_spent_waiting_is_shared_out_to_the_record_it_belongs_to(tmp_path: Path) -> None:
    clock = Clock()
    with Report(6, folder=tmp_path, options=ReportOptions(every=2, clock=clock)) as report:
        for step in range(1, 5):
            with report.waiting():
                clock.seconds += 1 if step <= 2 else 3
            run(report, [step], clock, seconds=1)
        run(report, [5, 6], clock)
    assert [line.get("share_waiting") for line in lines(tmp_path)] == [0.5, 0.75, None]


def test_tensors_are_read_for_recorded_steps_only() -> None:
    unreadable = torch.empty((), device="meta")  # has no number: reading it is an error
    options = ReportOptions(every=3, clock=Clock())
    with Report(9, options=options) as report:
        for step in (1, 2):
            take(report, step, losses={"triplet": unreadable}, gradient_norm=unreadable)
        with pytest.raises(RuntimeError, match="meta"):
            take(report, 3, losses={"triplet": unreadable}, gradient_norm=0.0)


def test_a_loss_for_each_triplet_is_reported_by_its_mean(tmp_path: Path) -> None:
    _, x = batch(1)
    result = batch_triplet_loss(x, LABELS, mining="hard", reduction="none")
    with Report(1, folder=tmp_path, options=ReportOptions(clock=Clock())) as report:
        report.step(1, result, x, LABELS, learning_rate=1.0, losses={}, gradient_norm=math.inf)
    (line,) = lines(tmp_path)
    assert line["loss"] == line["loss_mean"] == pytest.approx(float(result.loss.mean()))
    assert line["gradient_norm"] is None


def test_a_report_changes_neither_the_random_numbers_nor_the_embeddings(tmp_path: Path) -> None:
    result, x = batch(1)
    before, state = x.clone(), torch.get_rng_state()
    with Report(1, folder=tmp_path) as report:
        report.step(1, result, x, LABELS, learning_rate=1.0, losses={}, gradient_norm=1.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)
