"""What is compared: trainings that differ in who forms the triplet loss, and in nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.training import TrainConfig

__all__ = [
    "ARMS",
    "FULL",
    "OURS",
    "PML",
    "QUICK",
    "TORCH",
    "UNTRAINED",
    "Arm",
    "Mining",
    "Plan",
    "config_of",
]

OURS = "Lookalike"
PML = "PML"
TORCH = "plain torch"
UNTRAINED = "untrained"

Mining = Literal["hard", "all"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train.

    Attributes:
        by: who forms the loss; UNTRAINED leaves the first weights as they are.
        mining: which triplets of a batch count.
        identity: whether the cross-entropy over the identities is added, behind a BNNeck.
    """

    by: str
    mining: Mining = "all"
    identity: bool = False

    @property
    def key(self) -> str:
        """Return a name for files; no two arms have the same."""
        words = [self.by.lower().replace(" ", "-")]
        if self.by != UNTRAINED:
            words += [self.mining, *(["identity"] if self.identity else [])]
        return "-".join(words)

    @property
    def title(self) -> str:
        """Return the arm as a reader takes it."""
        return f"{self.by} + cross-entropy, BNNeck" if self.identity else self.by


ARMS = (
    Arm(OURS, "hard"),
    Arm(PML, "hard"),
    Arm(TORCH, "hard"),
    Arm(OURS, "all"),
    Arm(PML, "all"),
    Arm(TORCH, "all"),
    Arm(OURS, "all", identity=True),
    Arm(UNTRAINED),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What all arms have in common.

    Attributes:
        network: one of `models.networks.NETWORKS`.
        height, width: of its input, in pixels.
        identities, images: P and K of a batch.
        margin: of the triplet loss, on embeddings of length 1.
        learning_rate: the highest, after the warm-up.
        warm_up: the share of the steps in which it rises.
        steps: of a training.
        seeds: each arm is trained with each of them.
        train_identities, val_identities: how many of them are used, the first ones; None is all.
    """

    network: str
    height: int = 128
    width: int = 64
    identities: int = 16
    images: int = 4
    margin: float = 0.3
    learning_rate: float = 1e-3
    warm_up: float = 0.1
    steps: int = 200
    seeds: tuple[int, ...] = (0, 1, 2)
    train_identities: int | None = None
    val_identities: int | None = None


# Of the networks for a CPU the one whose first steps repeat: in OSNet x0.25 with batch-hard, a difference of
# 1e-16 has grown to 1e-2 after 20 steps, whoever forms the loss.
FULL = Plan("small_resnet")
QUICK = Plan(
    "small_resnet",
    height=64,
    width=32,
    identities=4,
    steps=25,
    seeds=(0,),
    train_identities=8,
    val_identities=6,
)


def config_of(plan: Plan, arm: Arm, seed: int, *, out: Path, threads: int) -> TrainConfig:
    """Return the configuration of one training.

    Args:
        plan: what all arms share.
        arm: decides mining and losses.
        seed: of weights, batches and augmentation.
        out: beside it, in `<out>.training`, our training logs.
        threads: torch's.
    """
    return TrainConfig(
        data=out,
        out=out,
        network=plan.network,
        neck=arm.identity,
        height=plan.height,
        width=plan.width,
        augmentation="baseline",
        identities=plan.identities,
        images=plan.images,
        mining=arm.mining,
        margin=plan.margin,
        normalize=True,
        id_weight=1.0 if arm.identity else 0.0,
        learning_rate=plan.learning_rate,
        warm_up=plan.warm_up,
        steps=plan.steps,
        seed=seed,
        threads=threads,
    )
