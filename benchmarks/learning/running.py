"""What is measured in a process of its own: one training, or one encoder's evaluation."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.learning.arms import OURS, UNTRAINED, Arm, Plan, config_of
from benchmarks.learning.losses import peer_step
from benchmarks.learning.records import Record
from benchmarks.learning.scoring import score
from benchmarks.learning.training import (
    Curve,
    begin_ours,
    begin_peer,
    first_network,
    train_ours,
    train_peer,
)
from models.datasets import ImageSet, load_pixels, read_dataset
from models.training import TrainConfig
from models.training.batches import TrainingData

__all__ = ["FIRST_STEPS", "Job", "Sets", "begin_arm", "first_identities", "measure", "train_arm"]

FIRST_STEPS = 20

_FORMAT = "%(asctime)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Sets:
    """What is learned from, and what it is measured on; their identities are disjoint."""

    train: ImageSet
    val: ImageSet


@dataclass(frozen=True, slots=True)
class Job:
    """One training.

    Attributes:
        plan, arm, seed: what is trained, and how.
        data: the dataset's folder, with the splits train and val.
        folder: for our trainer's logs.
        threads: torch's, and those that decode.
        begin: whether only its first steps are done, in float64.
    """

    plan: Plan
    arm: Arm
    seed: int
    data: Path
    folder: Path
    threads: int
    begin: bool = False


def measure(job: Job) -> Record:
    """Read the data and train; what a child process does."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, datefmt="%H:%M:%S")
    sets = Sets(
        first_identities(read_dataset(job.data, "train"), job.plan.train_identities),
        first_identities(read_dataset(job.data, "val"), job.plan.val_identities),
    )
    return begin_arm(job, sets) if job.begin else train_arm(job, sets)


def train_arm(job: Job, sets: Sets) -> Record:
    """Train one arm with one seed, and measure what came out.

    Returns:
        `losses` and `seconds` of each step, `minutes`, what `scoring.score` returns, the date and the sets.
    """
    config, data = _prepare(job, sets)
    started, curve = time.monotonic(), Curve()
    if job.arm.by == UNTRAINED:
        network = first_network(config, data)
    elif job.arm.by == OURS:
        network, curve = train_ours(config, data)
    else:
        network, curve = train_peer(config, data, peer_step(job.arm, job.plan.margin))
    minutes = (time.monotonic() - started) / 60
    scores = score(network, config.input(), sets.val, threads=job.threads)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "train": str(sets.train),
        "val": str(sets.val),
        "losses": curve.losses,
        "seconds": curve.seconds,
        "minutes": minutes,
        **scores,
    }


def begin_arm(job: Job, sets: Sets) -> Record:
    """Do the first steps of a training in float64, and return their `losses`."""
    config, data = _prepare(job, sets)
    steps = min(FIRST_STEPS, config.steps)
    if job.arm.by == OURS:
        curve = begin_ours(config, data, steps)
    else:
        curve = begin_peer(config, data, peer_step(job.arm, job.plan.margin), steps)
    return {"losses": curve.losses}


def _prepare(job: Job, sets: Sets) -> tuple[TrainConfig, TrainingData]:
    config = config_of(job.plan, job.arm, job.seed, out=job.folder / job.arm.key, threads=job.threads)
    pixels = load_pixels(sets.train, config.input(), threads=job.threads)
    return config, TrainingData(pixels, sets.train.labels())


def first_identities(images: ImageSet, count: int | None) -> ImageSet:
    """Return the pictures of the first identities of a set, all of them where count is None."""
    wanted: Sequence[int] = np.flatnonzero(np.isin(images.labels(), np.arange(count or len(images)))).tolist()
    return images.subset(wanted, split=images.split)
