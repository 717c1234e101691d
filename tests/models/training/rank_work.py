"""What the ranks of the distributed tests do, each in a process of its own."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import distributed as dist

from models.augmentation import AUGMENTATIONS
from models.errors import InterruptedWorkError
from models.training import TrainConfig, fit
from models.training.gradients import backpropagate
from models.training.ranks import Ranks, joined
from tests.models.training.small import batch, exact_parts, gradients, pictures

__all__ = ["find_gradients", "lose_the_other", "train_and_stop", "train_together"]


@contextmanager
def group(rank: int, folder: Path) -> Iterator[Ranks]:
    """Join two processes that meet in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    with joined("cpu") as ranks:
        yield ranks
    dist.destroy_process_group()


def find_gradients(rank: int, folder: Path, configs: dict[str, TrainConfig]) -> None:
    """Write the loss and the gradient that a rank comes to, for each configuration."""
    with group(rank, folder) as ranks:
        for whole, alike in groupby(configs, lambda name: replace(configs[name], chunk=None)):
            parts = exact_parts(whole, ranks)  # made once for every size of chunks
            for name in alike:
                parts.optimizer.zero_grad()
                losses, _ = backpropagate(parts, batch(whole, ranks), configs[name].chunk, ranks)
                found = gradients(parts) | {"loss": losses.total.detach()}
                found = {key: tensor.contiguous() for key, tensor in found.items()}
                save_file(found, folder / f"{name}.{rank}.safetensors")


def train_together(rank: int, folder: Path, config: TrainConfig) -> None:
    """Write the weights that a rank has after training."""
    with group(rank, folder) as ranks:
        network, outcome = fit(config, pictures(config), ranks=ranks)
        assert outcome["steps"] == config.steps
        weights = {name: parameter.detach().contiguous() for name, parameter in network.named_parameters()}
        save_file(weights, folder / f"weights.{rank}.safetensors")


def train_and_stop(rank: int, folder: Path, config: TrainConfig) -> None:
    """Let one rank be told to end; write what each says."""

    def told(images: Tensor, rng: np.random.Generator) -> Tensor:
        if rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return images.float()

    AUGMENTATIONS[config.augmentation] = told
    with group(rank, folder) as ranks:
        try:
            fit(config, pictures(config), ranks=ranks)
        except InterruptedWorkError as error:
            (folder / f"said.{rank}").write_text(str(error))


def lose_the_other(rank: int, folder: Path, config: TrainConfig) -> None:
    """Let one rank be killed; write what the other says."""

    def deadly(images: Tensor, rng: np.random.Generator) -> Tensor:
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return images.float()

    AUGMENTATIONS[config.augmentation] = deadly
    with group(rank, folder) as ranks:
        try:
            fit(config, pictures(config), ranks=ranks)
        except InterruptedWorkError as error:
            (folder / f"said.{rank}").write_text(str(error))
