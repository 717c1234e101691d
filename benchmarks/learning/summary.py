"""What the results say together: means over seeds, differences of losses, times, and whether aims are met."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from benchmarks.learning.arms import ARMS, OURS, PML, TORCH, UNTRAINED, Arm, Mining, Plan
from benchmarks.learning.records import Record
from benchmarks.learning.running import FIRST_STEPS

__all__ = ["LOSSES_AGREE", "PEERS", "Mean", "Summary", "peers_of"]

LOSSES_AGREE = 1e-4
PEERS = (PML, TORCH)

_WARM_UP = 5  # steps whose times do not count: memory is still being taken
_STANDARD_ERRORS = 2.0
_BLANK = Arm(UNTRAINED)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds, and its standard error: 0 where there is one seed."""

    value: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """Return the mean of at least one value."""
        return cls(fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of a plan, as far as they are there.

    Attributes:
        plan: what was to be measured.
        trained: by arm and seed, what `running.train_arm` returned.
        begun: likewise, `running.begin_arm`.
    """

    plan: Plan
    trained: Mapping[tuple[Arm, int], Record]
    begun: Mapping[tuple[Arm, int], Record]

    def seeds(self, arm: Arm) -> list[int]:
        """Return the seeds that an arm was trained with."""
        return [seed for seed in self.plan.seeds if (arm, seed) in self.trained]

    def missing(self) -> list[str]:
        """Return which trainings are not there, in words."""
        return [
            f"{arm.title}, {arm.mining} (seed {seed})" if arm != _BLANK else f"{arm.title} (seed {seed})"
            for seed in self.plan.seeds
            for arm in ARMS
            if (arm, seed) not in self.trained
        ]

    def mean(self, arm: Arm, figure: str) -> Mean | None:
        """Return the mean of a figure over an arm's seeds, None where it was not trained."""
        values = [float(self.trained[arm, seed][figure]) for seed in self.seeds(arm)]
        return Mean.of(values) if values else None

    def milliseconds(self, arm: Arm) -> float | None:
        """Return the median time of loss, mining and gradient in a step, over all steps of all seeds."""
        times = [t for seed in self.seeds(arm) for t in self.trained[arm, seed]["seconds"][_WARM_UP:]]
        return 1000 * median(times) if times else None

    def loss_difference(self, arm: Arm, *, float64: bool) -> float | None:
        """Return the largest difference of the loss from ours with that mining in the first steps.

        Args:
            arm: a peer's.
            float64: of the first steps in float64, not of the trainings.
        """
        results = self.begun if float64 else self.trained
        ours = Arm(OURS, arm.mining)
        differences = [
            abs(mine - theirs)
            for seed in self.plan.seeds
            if (arm, seed) in results and (ours, seed) in results
            for mine, theirs in zip(
                results[ours, seed]["losses"][:FIRST_STEPS],
                results[arm, seed]["losses"][:FIRST_STEPS],
                strict=True,
            )
        ]
        return max(differences) if differences else None

    def no_worse(self, mining: Mining) -> tuple[float, float] | None:
        """Return by how much our mAP is above that of the best peer, and the standard error of that.

        None where ours, or a peer, was not trained with every seed, or there is one seed only.
        """
        if len(self.plan.seeds) < 2:
            return None
        arms = [Arm(OURS, mining), *peers_of(mining)]
        if any(len(self.seeds(arm)) < len(self.plan.seeds) for arm in arms):
            return None
        ours, *theirs = [mean for arm in arms if (mean := self.mean(arm, "map"))]
        best = max(theirs, key=lambda mean: mean.value)
        return ours.value - best.value, math.hypot(ours.error, best.error)

    def is_no_worse(self, mining: Mining) -> bool | None:
        """Say whether our mAP is within two standard errors of the best peer's, or above; None: unknown."""
        found = self.no_worse(mining)
        return None if found is None else found[0] >= -_STANDARD_ERRORS * found[1]

    def agrees(self, mining: Mining) -> bool | None:
        """Say whether both peers' first losses in float64 are ours; None: unknown."""
        found = [self.loss_difference(arm, float64=True) for arm in peers_of(mining)]
        known = [one for one in found if one is not None]
        return max(known) <= LOSSES_AGREE if len(known) == len(found) else None

    def is_faster(self, mining: Mining) -> bool | None:
        """Say whether our loss takes less time than either peer's; None: unknown."""
        ours = self.milliseconds(Arm(OURS, mining))
        theirs = [self.milliseconds(arm) for arm in peers_of(mining)]
        known = [one for one in theirs if one is not None]
        return None if ours is None or len(known) < len(theirs) else ours < min(known)


def peers_of(mining: Mining) -> list[Arm]:
    """Return the peers' arms with a mining."""
    return [Arm(peer, mining) for peer in PEERS]
