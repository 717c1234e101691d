"""How far training has come: steps, time and running means, over all its interruptions."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from models.losses import BatchLoss

__all__ = ["Course", "Moment"]

_MOST_UNREAD = 1000
_MEMORY = 0.05  # one batch says little: what is shown is the mean over about the last twenty


class Moment(NamedTuple):
    """Where training stood: seconds, steps and pictures, with those before any interruption."""

    seconds: float
    step: int
    pictures: int

    def since(self, earlier: "Moment") -> "Moment":
        """Return what lies between; the seconds are above 0, so that a speed can be formed."""
        seconds = max(self.seconds - earlier.seconds, 1e-9)
        return Moment(seconds, self.step - earlier.step, self.pictures - earlier.pictures)


class Course:
    """Counts steps and time, and keeps the means of what single batches say.

    Losses are kept as they come and read together, when somebody asks: reading one waits for the device.

    Args:
        steps: how many there will be.
        minutes: a time budget in place of steps.
        state: of an earlier course, to go on from.
        clock: seconds that only rise.

    Attributes:
        active: the mean share of active triplets; NaN before the first step.
        medians: of d_ap and of d_an, when they were last measured; NaN before.
        warned: whether a collapse was told of.
        standing: how many batches in a row were collapsed until now.
    """

    def __init__(
        self, steps: int, minutes: float | None, state: Mapping[str, float], clock: Callable[[], float]
    ) -> None:
        self._steps, self._minutes, self._clock = steps, minutes, clock
        self._step, self._pictures = int(state.get("step", 0)), int(state.get("pictures", 0))
        self._loss = state.get("loss", math.nan)
        self.active = state.get("active", math.nan)
        self.medians = (state.get("d_ap", math.nan), state.get("d_an", math.nan))
        self.warned = bool(state.get("warned", 0))
        self.standing = 0
        self._unread: list[Tensor] = []
        self._started = clock() - state.get("seconds", 0.0)
        self._noted: tuple[int, float] | None = None
        self._resumed = self.now()

    def state(self) -> dict[str, float]:
        """Return numbers from which another course goes on as this one would."""
        now = self.now()
        numbers = {
            **now._asdict(),
            "loss": self.loss,
            "active": self.active,
            "d_ap": self.medians[0],
            "d_an": self.medians[1],
            "warned": int(self.warned),
        }
        # What is not known yet is left out: JSON has no NaN.
        return {name: value for name, value in numbers.items() if math.isfinite(value)}

    def note(self, step: int, result: BatchLoss, pictures: int) -> None:
        """Take note of a step that is done."""
        self._step, self._pictures = step, self._pictures + pictures
        self.active = _moving_mean(self.active, result.fraction_active)
        self.standing = self.standing + 1 if result.collapsed else 0
        loss = result.loss.detach()
        self._unread.append(loss.mean() if loss.ndim else loss)
        if len(self._unread) == _MOST_UNREAD:
            self._read()
        self._noted = step, self._share(step)

    def now(self) -> Moment:
        """Return where training stands."""
        return Moment(self._clock() - self._started, self._step, self._pictures)

    def share_done(self, step: int) -> float:
        """Return how much of the training is done after a step: of its steps, or of its time."""
        # Asked twice about a step the clock must not answer differently: the last one would go unrecorded.
        if self._noted is not None and self._noted[0] == step:
            return self._noted[1]
        return self._share(step)

    def here(self) -> Moment:
        """Return what was done in this run alone, whose speed is the one that counts."""
        return self.now().since(self._resumed)

    def seconds_left(self) -> float:
        """Return how long training will still take, at the speed of this run."""
        if self._minutes is not None:
            return max(60 * self._minutes - self.now().seconds, 0.0)
        here = self.here()
        return max(self._steps - self._step, 0) * here.seconds / max(here.step, 1)

    @property
    def loss(self) -> float:
        """Return the mean triplet loss over about the last twenty steps; NaN before the first."""
        self._read()
        return self._loss

    def _share(self, step: int) -> float:
        if self._minutes is None:
            return step / self._steps
        return self.now().seconds / (60 * self._minutes)

    def _read(self) -> None:
        if self._unread:
            for loss in torch.stack(self._unread).tolist():
                self._loss = _moving_mean(self._loss, loss)
            self._unread.clear()


def _moving_mean(mean: float, value: float) -> float:
    return value if math.isnan(mean) else mean + _MEMORY * (value - mean)
