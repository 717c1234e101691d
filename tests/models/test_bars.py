"""Log lines stand whole above a bar, on a terminal; elsewhere they are lines as always."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from unittest import mock

import pytest
from rich.console import Console
from rich.progress import Progress

from models.bars import lines_above, watched
from models.progress import Report, ReportOptions
from tests.models.reports import Clock, run
from tests.models.screens import screen

LONG = "words that are " * 20

log = logging.getLogger("models.anything")


@contextmanager
def standard_error() -> Iterator[StringIO]:
    """Catch what is written to it, by the log too, as the commands of `service.cli` let it write."""
    root, file = logging.getLogger(), StringIO()
    with mock.patch.object(sys, "stderr", file):
        handler = logging.StreamHandler()
        root.addHandler(handler)
        try:
            yield file
        finally:
            root.removeHandler(handler)
        assert handler.stream is sys.stderr is file  # both are again what they were


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich take every stream for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


def test_the_lines_of_a_training_stand_whole_above_its_bar(terminal: None) -> None:
    clock = Clock()
    with standard_error() as written:
        with Report(8, options=ReportOptions(every=1, clock=clock)) as report:
            for step in range(1, 9):
                run(report, [step], clock, seconds=1)
                if step % 3 == 0:
                    log.warning("line of [bold]step[/bold] %d, :smile:", step)
            log.warning(LONG)
        log.warning("after it")
    first, second, *wrapped, bar, after = screen(written.getvalue())
    assert (first, second) == tuple(f"line of [bold]step[/bold] {step}, :smile:" for step in (3, 6))
    assert " ".join(wrapped).split() == LONG.split()
    assert bar.startswith("step 8  loss ")
    assert "100 %" in bar
    assert after == "after it"


def test_a_line_before_the_first_step_leaves_the_bar_whole(terminal: None) -> None:
    with standard_error() as written, Report(8):
        log.warning("not a step yet")
    line, bar = screen(written.getvalue())
    assert line == "not a step yet"
    assert bar.startswith("training ")


def test_without_a_terminal_a_line_is_written_as_it_is() -> None:
    with standard_error() as written:
        with Report(8):
            log.warning(LONG)
        assert list(watched([1, 2], 2, "counting")) == [1, 2]
    assert written.getvalue() == f"{LONG}\n"


def test_a_bar_that_is_not_on_a_terminal_leaves_lines_alone() -> None:
    quiet = Console(file=StringIO(), force_terminal=False)
    with standard_error() as written, Progress(console=quiet), lines_above():
        log.warning(LONG)
    assert written.getvalue() == f"{LONG}\n"


def test_lines_that_go_to_a_file_still_go_there(terminal: None) -> None:
    file = StringIO()
    handler = logging.StreamHandler(file)
    logging.getLogger().addHandler(handler)
    with standard_error(), Report(8):
        log.warning(LONG)
    logging.getLogger().removeHandler(handler)
    assert file.getvalue() == f"{LONG}\n"


def test_lines_stand_above_the_bar_of_any_work_which_is_gone_after_it(terminal: None) -> None:
    with standard_error() as written:
        for number in watched(range(3), 3, "counting"):
            log.warning("number %d", number)
    assert "counting" in written.getvalue()
    assert screen(written.getvalue()) == [f"number {number}" for number in range(3)]


def test_after_an_interruption_lines_go_where_they_went(terminal: None) -> None:
    with standard_error() as written:
        with pytest.raises(KeyboardInterrupt), Report(8):
            raise KeyboardInterrupt
        log.warning("interrupted")
    assert screen(written.getvalue())[-1] == "interrupted"
