"""How far moving is: a bar on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Course"]

_LINE_SECONDS = 10.0


class Course:
    """Counts what is done, and shows it on the standard error.

    Args:
        what: is being done, in a word or two.
        total: how many there will be.
    """

    def __init__(self, what: str, total: int) -> None:
        self.done = 0
        self._what, self._total, self._before = what, total, 0
        console = Console(stderr=True)
        self._quiet = not console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=self._quiet)
        self._task = self._bar.add_task(what, total=total)
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, traceback)

    def skip(self, count: int) -> None:
        """Note that so many were done in an earlier run."""
        self._before += count
        self.advance(count)

    def advance(self, count: int) -> None:
        """Note that so many more are done."""
        self.done += count
        now = time.monotonic()
        self._bar.update(self._task, completed=self.done, description=f"{self._what}, {self._rate(now)}")
        if self._quiet and now - self._spoke >= _LINE_SECONDS:
            self._spoke = now
            click.echo(f"{self._what}: {self.done:,} of {self._total:,}, {self._rate(now)}", err=True)

    def _rate(self, now: float) -> str:
        return f"{(self.done - self._before) / max(now - self._began, 1e-9):,.0f}/s"
