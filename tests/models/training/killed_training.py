"""A training that dies at a step, for the tests that resume it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
from torch import Tensor

from models.augmentation import AUGMENTATIONS
from models.training import TrainConfig, train

__all__ = ["train_and_count", "train_and_die", "train_and_die_anywhere"]

_LOOP = "/models/training/"


def train_and_die(config: TrainConfig, dies_at: int) -> None:
    """Go on with a training; be killed while batch `dies_at`, from 0, is drawn. -1 lives.

    Nothing of Python gets to clean up.
    """
    camera, calls = AUGMENTATIONS[config.augmentation], 0

    def deadly(images: Tensor, rng: np.random.Generator) -> Tensor:
        nonlocal calls
        if calls == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return camera(images, rng)

    AUGMENTATIONS[config.augmentation] = deadly
    train(config, resume=True)


def train_and_count(config: TrainConfig, file: Path) -> None:
    """Train; write how many functions of `models.training` were entered or left meanwhile."""
    with _watched(-1) as count:
        train(config)
    file.write_text(str(count[0]))


def train_and_die_anywhere(config: TrainConfig, dies_at: int) -> None:
    """Go on with a training; be killed where so many functions of `models.training` were entered or left.

    That may be between the gradient and the optimiser's step, or in the middle of writing the checkpoint.
    """
    with _watched(dies_at):
        train(config, resume=True)


@contextmanager
def _watched(dies_at: int) -> Iterator[list[int]]:
    """Count, in the list's only number, the functions that are entered and left."""
    count = [0]

    def note(frame: FrameType, event: str, _: object) -> None:
        if event in {"call", "return"} and _LOOP in frame.f_code.co_filename:
            count[0] += 1
            if count[0] == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(None)
