"""Long computations end at the next tile once they are told to."""

import contextvars
import itertools
from collections.abc import Callable

import pytest
import torch

from models import comparisons, euclid
from models.distances import METRICS, paired, pairwise
from models.errors import InterruptedWorkError
from models.interruption import checkpoint, interruptible
from models.losses import batch_triplet_loss
from models.margins import Margin
from tests.models.inputs import metric_named, rows_for

LABELS = torch.arange(40) % 2


def asked(work: Callable[[], object], stop_at: int | None = None) -> int:
    """Return how often the work asks whether to stop; it is told so at the given time."""
    count = itertools.count(1)
    times = 0

    def stop() -> bool:
        nonlocal times
        times = next(count)
        return times == stop_at

    with interruptible(stop):
        work()
    return times


def test_without_anybody_who_may_stop_it_work_goes_on() -> None:
    checkpoint()
    assert asked(checkpoint) == 1
    checkpoint()
    with pytest.raises(InterruptedWorkError):
        asked(checkpoint, stop_at=1)
    contextvars.Context().run(checkpoint)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_asks_between_tiles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "STRIP_ELEMENTS", 200)
    monkeypatch.setattr(comparisons, "_GATHERED_ELEMENTS", 100)
    monkeypatch.setattr(euclid, "_SMALL", 0)
    x = rows_for(name, 40)
    for work in (
        lambda: pairwise(x, metric=metric_named(name)),
        lambda: paired(x, x.flip(0) if name != "kl_divergence" else x, metric_named(name)),
    ):
        times = asked(work)
        assert times >= 2
        for stop_at in (1, times):
            with pytest.raises(InterruptedWorkError):
                asked(work, stop_at)


@pytest.mark.parametrize("margin", [0.2, "soft"])
@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
def test_every_mining_asks_within_one_strip_of_many_positives(mining: str, margin: Margin) -> None:
    x = rows_for("euclidean", 40).requires_grad_()

    def work() -> None:
        torch.autograd.grad(batch_triplet_loss(x, LABELS, mining=mining, margin=margin).loss, x)

    times = asked(work)
    assert times >= (2 if mining == "hard" else 19)  # 19 positives of each anchor
    with pytest.raises(InterruptedWorkError):
        asked(work, times)
    listing = asked(lambda: batch_triplet_loss(x, LABELS, mining="all", return_triplets=3))
    assert listing >= 19 + 2  # and asks while it lists them
