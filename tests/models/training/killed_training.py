"""A training that dies at a step, for the tests that resume it."""

import os
import signal

import numpy as np
from torch import Tensor

from models.augmentation import AUGMENTATIONS
from models.training import TrainConfig, train

__all__ = ["train_and_die"]


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
