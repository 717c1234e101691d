"""One training: ours by the trainer itself, a peer's by a plain loop over the same batches."""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.learning.losses import Step
from models.training import TrainConfig, fit
from models.training.batches import Batches, TrainingData, seed_torch
from models.training.checkpoint import Checkpoint
from models.training.objective import Losses
from models.training.parts import Parts, begin, learning_rate
from models.training.ranks import ALONE

__all__ = ["Curve", "begin_ours", "begin_peer", "first_network", "train_ours", "train_peer"]

log = logging.getLogger(__name__)

_LOG_EVERY = 50


@dataclass(slots=True)
class Curve:
    """What happened in each step.

    Attributes:
        losses: the triplet loss.
        seconds: from the embeddings to the loss and its gradient back at them, mining included.
    """

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class _EnoughError(Exception):
    """As many steps as were asked for are done."""


class _Watched(Checkpoint):
    """Listens to a training at its losses; a training of minutes is begun anew, so nothing is written.

    Args:
        config: of the training.
        steps: after how many steps, in float64, to end it; None lets it run as it would.
    """

    def __init__(self, config: TrainConfig, steps: int | None = None) -> None:
        super().__init__(config, "", ALONE, resume=False)
        self.losses: list[Tensor] = []
        self.seconds: list[float] = []
        self._steps = steps
        self._started = 0.0

    def curve(self) -> Curve:
        """Return what was heard."""
        return Curve([float(loss) for loss in self.losses], self.seconds)

    def restore(self, parts: Parts) -> tuple[int, dict[str, float] | None]:
        """Begin at the beginning, and listen from there."""
        parts.objective.register_forward_pre_hook(self._begin)
        parts.objective.register_forward_hook(self._note)
        if self._steps is not None:
            _compute_in_float64(parts)
        return super().restore(parts)

    def write(self, *_: Any, **__: Any) -> None:
        """Write nothing."""

    def write_if_due(self, *_: Any, **__: Any) -> None:
        """Write nothing; end where it is time to."""
        if len(self.losses) == self._steps:
            raise _EnoughError

    def _begin(self, __: nn.Module, arguments: tuple[Tensor, Tensor]) -> None:
        embeddings, _ = arguments
        embeddings.register_post_accumulate_grad_hook(self._end)  # type: ignore[no-untyped-call]  # torch has not typed it
        self._started = time.perf_counter()

    def _note(self, _: nn.Module, __: object, losses: Losses) -> None:
        self.losses.append(losses.parts["triplet"])

    def _end(self, _: Tensor) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def train_ours(config: TrainConfig, data: TrainingData) -> tuple[nn.Module, Curve]:
    """Return what `models.training.fit` makes of the data, in evaluation mode, and how it went."""
    watched = _Watched(config)
    network, _ = fit(config, data, checkpoint=watched)
    return network, watched.curve()


def begin_ours(config: TrainConfig, data: TrainingData, steps: int) -> Curve:
    """Return how the first steps of `train_ours` go in float64."""
    watched = _Watched(config, steps)
    with suppress(_EnoughError):
        fit(config, data, checkpoint=watched)
    return watched.curve()


def train_peer(config: TrainConfig, data: TrainingData, loss_of: Step) -> tuple[nn.Module, Curve]:
    """Return what a plain loop makes of the data with a peer's loss, in evaluation mode, and how it went.

    The weights that it begins with, the batches, the optimiser and the learning rates are those of ours.

    Args:
        config: as for ours; its mining and margin are not looked at.
        data: what is learned from.
        loss_of: leaves the gradient in the embeddings that it is given.
    """
    with torch.random.fork_rng(devices=[]):
        parts = _parts(config, data)
        curve = _run(parts, config, Batches(config, data, ALONE), loss_of, config.steps)
    return parts.network.eval(), curve


def begin_peer(config: TrainConfig, data: TrainingData, loss_of: Step, steps: int) -> Curve:
    """Return how the first steps of `train_peer` go in float64."""
    with torch.random.fork_rng(devices=[]):
        parts = _parts(config, data)
        _compute_in_float64(parts)
        return _run(parts, config, Batches(config, data, ALONE), loss_of, steps)


def first_network(config: TrainConfig, data: TrainingData) -> nn.Module:
    """Return the network that all of a seed's trainings begin with, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        return _parts(config, data).network.eval()


def _run(parts: Parts, config: TrainConfig, batches: Batches, loss_of: Step, steps: int) -> Curve:
    """Train for some steps, as one writes it plainly in torch."""
    curve = Curve()
    for step in range(steps):
        for group in parts.optimizer.param_groups:
            group["lr"] = learning_rate(config, step / config.steps)
        batch = batches.batch(step)
        seed_torch(config.seed, step, ALONE.rank)
        parts.optimizer.zero_grad()
        embeddings = parts.network(batch.x)
        leaf = embeddings.detach().requires_grad_()
        started = time.perf_counter()
        loss = loss_of(leaf, batch.labels)
        curve.seconds.append(time.perf_counter() - started)
        curve.losses.append(float(loss))
        embeddings.backward(leaf.grad)
        nn.utils.clip_grad_norm_(parts.parameters(), config.clip_norm)
        parts.optimizer.step()
        if (step + 1) % _LOG_EVERY == 0:
            log.info("step %d of %d  loss %.4f", step + 1, steps, curve.losses[-1])
    return curve


def _parts(config: TrainConfig, data: TrainingData) -> Parts:
    return begin(config, int(data.labels.max()) + 1, ALONE)


def _compute_in_float64(parts: Parts) -> None:
    """Widen the weights, before the optimiser has taken note of any, and what comes in."""
    parts.network.double()
    parts.network.register_forward_pre_hook(lambda _, arguments: (arguments[0].double(),))
