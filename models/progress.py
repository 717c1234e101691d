"""How training goes, for whoever waits for it."""

import logging
import time
from typing import Any

import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from models.losses import BatchLoss

__all__ = ["Report"]

log = logging.getLogger(__name__)

_LOG_EVERY = 50
_COLLAPSED_COSINE = 0.98


class Report:
    """Knows how far training is, and says so: a bar on a terminal, log lines elsewhere.

    Args:
        steps: how many there will be.
        minutes: a time budget in place of steps, from now on.
    """

    def __init__(self, steps: int, minutes: float | None = None) -> None:
        self._steps = steps
        self._minutes = minutes
        self._started = time.monotonic()
        self._loss = self._active = 0.0
        self._warned = False
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
        console = Console(stderr=True)
        self._bar = Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("training", total=1.0)

    def __enter__(self) -> "Report":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def share_done(self, step: int) -> float:
        """Return how much of the training is done: of its steps, or of its time."""
        if self._minutes is None:
            return step / self._steps
        return (time.monotonic() - self._started) / (60 * self._minutes)

    def step(self, step: int, result: BatchLoss, embeddings: Tensor) -> None:
        """Take note of a step; now and then, say how it goes."""
        # One batch says little: what is shown is the mean over about the last twenty.
        weight = 1.0 if step == 1 else 0.05
        self._loss += weight * (float(result.loss.detach()) - self._loss)
        self._active += weight * (result.fraction_active - self._active)
        done = self.share_done(step)
        text = f"step {step}  loss {self._loss:.4f}  active {self._active:.2%}"
        self._bar.update(self._task, completed=min(done, 1.0), description=text)
        if step % _LOG_EVERY == 0 or done >= 1:
            if self._bar.disable:
                log.info("%s  %.0f %%  %.0f s", text, 100 * min(done, 1.0), time.monotonic() - self._started)
            self._watch_for_collapse(step, done, result.collapsed, embeddings)

    def outcome(self, steps: int) -> dict[str, Any]:
        """Return what the bundle's record of training says about how it went."""
        return {
            "steps": steps,
            "minutes_taken": round((time.monotonic() - self._started) / 60, 1),
            "last_loss": round(self._loss, 4),
            "last_active": round(self._active, 4),
        }

    def _watch_for_collapse(self, step: int, done: float, collapsed: bool, embeddings: Tensor) -> None:
        """Warn once when, well after the start, all embeddings point one way: ranks may hide it."""
        cosine = float(F.normalize(embeddings).mean(dim=0).square().sum())  # the mean over all pairs
        if self._warned or not (collapsed or (done > 0.25 and cosine > _COLLAPSED_COSINE)):
            return
        self._warned = True
        log.warning(
            "Collapse: at step %d the mean cosine of two embeddings of a batch is %.3f. "
            "Use batch-all mining or a lower learning rate.",
            step,
            cosine,
        )
