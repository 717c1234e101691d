"""How training goes, for whoever waits for it: a bar or log lines, records on disk, a warning of collapse."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from models.bars import lines_above
from models.collapse import collapse_warning
from models.course import Course
from models.distances import Metric
from models.errors import OptionError
from models.losses import BatchLoss
from models.margins import Margin, check_margin
from models.spread import QUANTILES, Spread, measure_spread
from models.training_log import TrainingLog

__all__ = ["Report", "ReportOptions"]

log = logging.getLogger(__name__)

_LOG_EVERY = 50
_LINE_SECONDS = 30.0  # the longest silence without a terminal
_BAR_SECONDS = 0.25  # reading the loss waits for the device: not more often than an eye can follow


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report has to know of the loss, and where and how often it speaks.

    Attributes:
        metric: of the triplet loss.
        normalize: whether that loss brings the embeddings to length 1.
        margin: of that loss.
        every: steps from one record, and one line of the log, to the next.
        quiet: say and write nothing, as all processes but the first must.
        console: where the bar is drawn, if that is a terminal; None is the standard error.
        clock: seconds that only rise.

    Raises:
        OptionError: every below 1, or a margin that is none.
    """

    metric: Metric | str = "euclidean"
    normalize: bool = False
    margin: Margin = 0.2
    every: int = _LOG_EVERY
    quiet: bool = False
    console: Console | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.every < 1:
            raise OptionError(f"every is {self.every}; it must be 1 or more.", argument="every")
        check_margin(self.margin)


class Report:
    """Knows how far training is, and says so: a bar on a terminal, log lines elsewhere.

    Args:
        steps: how many there will be.
        minutes: a time budget in place of steps; those spent before an interruption count.
        folder: where the records go, see `models.training_log`; None keeps none. What stands there of steps
            after that of `state` is removed, and without a state all of it.
        state: of an earlier report, to go on from.
        options: see `ReportOptions`.
    """

    def __init__(
        self,
        steps: int,
        minutes: float | None = None,
        *,
        folder: Path | None = None,
        state: Mapping[str, float] | None = None,
        options: ReportOptions | None = None,
    ) -> None:
        self._folder, self._options = folder, options or ReportOptions()
        self._course = Course(steps, minutes, state or {}, self._options.clock)
        self._recorded = self._course.now()
        self._waited: float | None = None  # since then
        self._spoke = self._recorded.seconds
        self._log: TrainingLog | None = None
        console = self._options.console or Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
        silent = self._options.quiet or not console.is_terminal
        self._bar = Progress(*columns, TimeElapsedColumn(), console=console, disable=silent)
        self._task = self._bar.add_task("training", total=1.0)
        self._shown = ExitStack()

    def __enter__(self) -> "Report":
        if self._folder is not None and not self._options.quiet:
            self._log = TrainingLog(self._folder, after=self._recorded.step)
        self._shown.enter_context(self._bar)
        self._shown.enter_context(lines_above())
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()
        if self._log is not None:
            self._log.close()

    def share_done(self, step: int) -> float:
        """Return how much of the training is done after a step: of its steps, or of its time."""
        return self._course.share_done(step)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time spent in here as time that training waited for data."""
        started = self._options.clock()
        try:
            yield
        finally:
            self._waited = (self._waited or 0.0) + self._options.clock() - started

    def step(
        self,
        step: int,
        result: BatchLoss,
        embeddings: Tensor,
        labels: Tensor,
        *,
        learning_rate: float,
        losses: Mapping[str, float | Tensor],
        gradient_norm: float | Tensor,
    ) -> None:
        """Take note of a step; now and then, say how it goes.

        What is given as tensors is read from its device only for steps that are recorded.

        Args:
            step: how many are done, this one among them.
            result: the triplet loss of the batch.
            embeddings: (B, D), those of `result`, detached.
            labels: (B,) integers, same device.
            learning_rate: that of this step.
            losses: the parts of what was minimised, by their names.
            gradient_norm: before it was clipped.

        Raises:
            OSError: the record cannot be written.
        """
        self._course.note(step, result, len(labels))
        if self._options.quiet:
            return
        done = self._course.share_done(step)
        recorded = step % self._options.every == 0 or done >= 1
        self._show(done, recorded)
        if not recorded and (self._course.warned or not result.collapsed):
            return
        spread = measure_spread(embeddings, labels, self._options.metric, normalize=self._options.normalize)
        self._watch_for_collapse(result, spread, done)
        if recorded:
            numbers = {"learning_rate": learning_rate, "gradient_norm": gradient_norm}
            parts = {f"losses/{name}": value for name, value in losses.items()}
            scalars = {name: float(value) for name, value in {**numbers, **parts}.items()}
            self._record({**_measures(result, spread), **scalars}, spread, done)

    def state(self) -> dict[str, float]:
        """Return the numbers from which another report goes on as this one would."""
        return self._course.state()

    def outcome(self, steps: int) -> dict[str, Any]:
        """Return what the bundle's record of training says about how it went; None is what is not known."""
        now = self._course.now()
        d_ap, d_an = self._course.medians
        numbers = {
            "minutes_taken": round(now.seconds / 60, 1),
            "pictures_per_second": round(now.pictures / max(now.seconds, 1e-9), 1),
            "last_loss": round(self._course.loss, 4),
            "last_active": round(self._course.active, 4),
            "last_median_d_ap": round(d_ap, 4),
            "last_median_d_an": round(d_an, 4),
        }
        known = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return {"steps": steps, **known, "collapse_warned": self._course.warned}

    def _show(self, done: float, recorded: bool) -> None:
        now = self._course.now()
        longest = _LINE_SECONDS if self._bar.disable else _BAR_SECONDS
        if not recorded and now.seconds - self._spoke < longest:
            return
        self._spoke = now.seconds
        here = self._course.here()
        text = (
            f"step {now.step}  loss {self._course.loss:.4f}  active {self._course.active:.2%}  "
            f"{here.pictures / here.seconds:.0f} pictures/s  "
            f"{timedelta(seconds=round(self._course.seconds_left()))} left"
        )
        self._bar.update(self._task, completed=min(done, 1.0), description=text)
        if self._bar.disable:
            log.info("%s  %.0f %%  %.0f s", text, 100 * min(done, 1.0), now.seconds)

    def _watch_for_collapse(self, result: BatchLoss, spread: Spread, done: float) -> None:
        """Warn once: what is said again and again is not read."""
        if self._course.warned:
            return
        warning = collapse_warning(
            result,
            spread,
            loss=self._course.loss,
            margin=self._options.margin,
            done=done,
            standing=self._course.standing,
        )
        if warning is not None:
            self._course.warned = True
            log.warning("Collapse: at step %d %s", self._course.now().step, warning)

    def _record(self, measures: Mapping[str, float], spread: Spread, done: float) -> None:
        """Write down a step, and how fast training went since the record before."""
        self._course.medians = spread.medians
        now = self._course.now()
        passed, waited = now.since(self._recorded), self._waited
        self._recorded, self._waited = now, None
        if self._log is None:
            return
        record = {
            "share_done": done,
            "minutes": now.seconds / 60,
            **measures,
            "loss_mean": self._course.loss,
            "active_mean": self._course.active,
            "seconds_per_step": passed.seconds / max(passed.step, 1),
            "pictures_per_second": passed.pictures / passed.seconds,
        }
        if waited is not None:
            record["share_waiting"] = waited / passed.seconds
        self._log.write(now.step, record)


def _measures(result: BatchLoss, spread: Spread) -> dict[str, float]:
    """Return what is recorded of the batch itself, by the names of the records."""
    quantiles = {
        f"{name}/q{round(100 * quantile):02d}": value
        for name, values in (("d_ap", spread.d_ap), ("d_an", spread.d_an))
        for quantile, value in zip(QUANTILES, values, strict=True)
    }
    return {
        "loss": float(result.loss.detach().mean()),
        "active": result.fraction_active,
        "triplets/easy": result.easy,
        "triplets/semi_hard": result.semi_hard,
        "triplets/hard": result.hard,
        "skipped_anchors": result.skipped_anchors,
        **quantiles,
        "mean_cosine": spread.cosine,
    }
