"""Records on disk: each step once, whatever a process left behind; the same numbers in TensorBoard."""

import json
import logging
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from models.training_log import JSON_LINES, TENSORBOARD, TrainingLog


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JSON_LINES).read_text("utf-8").splitlines()]


def steps(folder: Path) -> list[int]:
    return [line["step"] for line in lines(folder)]


def write(folder: Path, numbers: list[int], after: int = 0) -> None:
    log = TrainingLog(folder, after)
    for step in numbers:
        log.write(step, {"loss": 1 / step})
    log.close()


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read what TensorBoard would show."""
    reason = "TensorBoard is not installed"
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=reason)
    events = reader.EventAccumulator(str(folder / TENSORBOARD))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.mark.usefixtures("no_tensorboard")
def test_a_record_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "runs" / "x")
    log.write(50, {"loss": 0.25, "triplets/easy": 3})
    assert lines(tmp_path / "runs" / "x") == [{"step": 50, "loss": 0.25, "triplets/easy": 3}]
    log.close()


@pytest.mark.usefixtures("no_tensorboard")
def test_steps_done_again_stand_there_once(tmp_path: Path) -> None:
    write(tmp_path, [10, 20, 30, 40])
    write(tmp_path, [30, 40, 50], after=25)
    assert steps(tmp_path) == [10, 20, 30, 40, 50]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.usefixtures("no_tensorboard")
def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    write(tmp_path, [10, 20])
    write(tmp_path, [10])
    assert steps(tmp_path) == [10]


@pytest.mark.usefixtures("no_tensorboard")
@pytest.mark.parametrize(
    "rest",
    [
        b'{"step": 30, "lo',
        b'{"step": 30, "loss": 1',
        b"\xff\xfe{",
        b"{}\n",
        b"[30]\n",
        b"\n",
        b'{"step": "3"}',
    ],
)
def test_what_was_cut_off_is_repaired(tmp_path: Path, rest: bytes) -> None:
    write(tmp_path, [10, 20])
    with (tmp_path / JSON_LINES).open("ab") as file:
        file.write(rest)
    write(tmp_path, [30], after=29)
    assert steps(tmp_path) == [10, 20, 30]


@pytest.mark.usefixtures("no_tensorboard")
def test_a_whole_record_that_lost_its_end_of_line_alone_is_kept(tmp_path: Path) -> None:
    write(tmp_path, [10, 20])
    path = tmp_path / JSON_LINES
    path.write_bytes(path.read_bytes()[:-1])
    write(tmp_path, [30], after=20)
    assert steps(tmp_path) == [10, 20, 30]


@pytest.mark.usefixtures("no_tensorboard")
def test_a_log_that_is_in_order_is_not_written_anew(tmp_path: Path) -> None:
    write(tmp_path, [10, 20])
    before = (tmp_path / JSON_LINES).stat().st_ino
    write(tmp_path, [30], after=20)
    assert (tmp_path / JSON_LINES).stat().st_ino == before


@pytest.mark.usefixtures("no_tensorboard")
def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    log.write(1, {"gradient_norm": math.inf, "loss": math.nan, "minutes": 2.0})
    log.close()
    assert lines(tmp_path) == [{"step": 1, "gradient_norm": None, "loss": None, "minutes": 2.0}]


@pytest.mark.usefixtures("no_tensorboard")
def test_without_tensorboard_one_line_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        write(tmp_path, [1, 2, 3])
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "TensorBoard, which is not installed" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [JSON_LINES]


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    log.write(50, {"loss": 0.5, "d_ap/q05": 0.25, "gradient_norm": math.inf})
    shown = curves(tmp_path)  # before it is closed: a process may be killed
    log.write(100, {"loss": 0.25, "d_ap/q05": 0.125, "gradient_norm": 2.0})
    log.close()
    assert shown == {"loss": [(50, 0.5)], "d_ap/q05": [(50, 0.25)]}
    assert curves(tmp_path) == {
        "loss": [(50, 0.5), (100, 0.25)],
        "d_ap/q05": [(50, 0.25), (100, 0.125)],
        "gradient_norm": [(100, 2.0)],
    }


def test_tensorboard_hides_the_steps_that_are_done_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    write(tmp_path, [1, 2, 4, 8])
    write(tmp_path, [4, 16], after=3)
    assert curves(tmp_path) == {"loss": [(1, 1.0), (2, 0.5), (4, 0.25), (16, 0.0625)]}
