"""The batches of a training, each a function of the seed and the step alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.augmentation import AUGMENTATIONS
from models.augmentation.compounds import compound
from models.datasets import Pictures, PKSampler
from models.errors import OptionError, ShapeError
from models.images import Pixels
from models.training.config import MEAN, STD, TrainConfig
from models.training.ranks import Ranks

__all__ = ["Batch", "Batches", "TrainingData", "seed_torch"]


@dataclass(frozen=True)
class TrainingData:
    """What is learned from.

    Attributes:
        pixels: (N, H, W, C) uint8, or pictures that are decoded when they are needed.
        labels: (N,) int64, the identities, from 0.
        cameras: (N,) int64, or None where they are unknown.
        groups: (N,) int64, of identities that are easily confused, or None where they are unknown.
    """

    pixels: Pixels | Pictures
    labels: npt.NDArray[np.int64]
    cameras: npt.NDArray[np.int64] | None = None
    groups: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Batch:
    """One step's pictures and labels.

    Attributes:
        x: (P K / world, C, H, W) float32, changed and normalised: what this rank encodes.
        labels: (P K,) int64, of the pictures of all ranks in the ranks' order.
    """

    x: Tensor
    labels: Tensor


class Batches:
    """Draws P identities with K pictures each, and changes the pictures as another camera would.

    Args:
        config: P, K, the augmentation and the seed.
        data: what to draw from.
        ranks: of whose pictures a rank gets its own.

    Raises:
        DatasetError: fewer identities than a batch needs.
        OptionError: identities that the ranks cannot share equally, or cameras or groups that are unknown.
        ShapeError: another number of labels than of pictures.
    """

    def __init__(self, config: TrainConfig, data: TrainingData, ranks: Ranks) -> None:
        if len(data.labels) != len(data.pixels):
            raise ShapeError(
                f"There are {len(data.labels)} labels for {len(data.pixels)} pictures; each needs one.",
                argument="labels",
                expected=len(data.pixels),
                got=len(data.labels),
            )
        if config.identities % ranks.world:
            raise OptionError(
                f"identities is {config.identities}; {ranks.world} ranks cannot share them equally.",
                argument="identities",
            )
        if config.camera_balanced and data.cameras is None:
            raise OptionError(
                "camera_balanced was asked for, and the dataset does not say which camera took each picture.",
                argument="camera_balanced",
            )
        if config.together > 1 and data.groups is None:
            raise OptionError(
                "together was asked for, and the dataset does not say which identities form a group.",
                argument="together",
            )
        self._sampler = PKSampler(
            data.labels,
            identities=config.identities,
            images=config.images,
            seed=config.seed,
            cameras=data.cameras if config.camera_balanced else None,
            groups=data.groups if config.together > 1 else None,
            together=config.together,
        )
        self._pixels = data.pixels
        self._labels = torch.from_numpy(data.labels)
        self._augment = AUGMENTATIONS[config.augmentation]
        self._compounds, self._images = config.compounds, config.images
        self._seed, self._ranks = config.seed, ranks

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0.

        Raises:
            DatasetError: a picture that can no longer be read.
        """
        rows = self._sampler.batch(step)
        own = self._ranks.share(len(rows))
        if isinstance(self._pixels, Pictures):
            pixels = self._pixels.rows(rows[own])
            self._pixels.prefetch(self._sampler.batch(step + 1)[own])
        else:
            pixels = self._pixels[rows[own]]
        # Alone, and as rank 0, a training draws what it always drew.
        further = [self._ranks.rank] if self._ranks.rank else []
        rng = np.random.default_rng([self._seed, 1, step, *further])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        if self._compounds:
            images = compound(images, rng, each=self._images, share=self._compounds)
        changed = self._augment(images, rng)
        x = ((changed - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        return Batch(x.to(self._ranks.device), self._labels[torch.from_numpy(rows)].to(self._ranks.device))


def seed_torch(seed: int, step: int, rank: int) -> None:
    """Seed what dropout and the like draw from in a step."""
    (word,) = np.random.SeedSequence([seed, 2, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(word))
