"""Training an encoder: one loop, read from top to bottom."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.augmentation import augment
from models.bundle import Architecture, EncoderSpec, InputSpec, check_destination
from models.datasets import ImageSet, PKSampler, load_pixels, read_dataset
from models.drawing import draw_vehicle
from models.errors import BundleError, OptionError
from models.evaluation import evaluate
from models.images import Pixels, decode
from models.losses import batch_triplet_loss
from models.manifest import make_record
from models.margins import check_margin
from models.networks import build_network
from models.progress import Report
from models.runtime import save_encoder

__all__ = ["TrainConfig", "fit", "train"]

log = logging.getLogger(__name__)

_MEAN, _STD = 127.5, 64.0
_WARM_UP = 0.07  # the share of training in which the learning rate rises; without it, batch-hard collapses


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what comes out; the bundle keeps it, paths left out.

    Attributes:
        data: the dataset's folder, see `models.datasets`.
        out: the bundle's folder.
        name, description, intended_use, licence: what the bundle says of itself.
        train_split: what is learned from.
        val_split: what the bundle's figures are measured on; None measures nothing.
        network: one of `models.networks.NETWORKS`.
        dimension: D of the embeddings.
        height, width: of the network's input, in pixels.
        identities, images: P and K of the batches.
        mining: which triplets of a batch count: all, hard or semi_hard.
        margin: of the triplet loss, or "soft".
        normalize: whether embeddings are L2-normalised, in training and ever after.
        learning_rate: the highest, reached after the warm-up; it falls to 0 along a cosine.
        weight_decay: AdamW's, on matrices and kernels only.
        clip_norm: the largest norm of a step's gradient.
        steps: how long to train.
        minutes: a time budget in place of `steps`; the outcome then depends on the machine's speed.
        seed: of the first weights, the batches and the augmentation.
        threads: torch's; another number may change the last bits.
    """

    data: Path
    out: Path
    name: str = "encoder"
    description: str = ""
    intended_use: str = ""
    licence: str = ""
    train_split: str = "train"
    val_split: str | None = "val"
    network: str = "small_resnet"
    dimension: int = 128
    height: int = 96
    width: int = 96
    identities: int = 48
    images: int = 2
    mining: Literal["all", "hard", "semi_hard"] = "all"
    margin: float | Literal["soft"] = 0.2
    normalize: bool = True
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    clip_norm: float = 5.0
    steps: int = 1000
    minutes: float | None = None
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        for name in ("identities", "images"):
            if getattr(self, name) < 2:
                raise OptionError(
                    f"{name} is {getattr(self, name)}; a triplet needs at least 2.", argument=name
                )
        for name in ("steps", "learning_rate", "clip_norm", "threads", "minutes", "dimension"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise OptionError(f"{name} is {value}; it must be above 0.", argument=name)
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"seed is {self.seed}; it must be from 0 to 2**63 - 1.", argument="seed")
        check_margin(self.margin)

    def record(self) -> dict[str, Any]:
        """Return it without what is said elsewhere in the manifest, and without paths of this machine."""
        elsewhere = {"data", "out", "name", "description", "intended_use", "licence"}
        return {name: value for name, value in asdict(self).items() if name not in elsewhere}

    def input(self) -> InputSpec:
        """Return how pictures become the network's input.

        Raises:
            OptionError: a height or width that no input can have.
        """
        return make_record(
            InputSpec, height=self.height, width=self.width, mean=(_MEAN,) * 3, std=(_STD,) * 3
        )


def train(config: TrainConfig) -> Path:
    """Train an encoder, measure it, and write its bundle.

    The same configuration, on the same machine with the same versions and threads, gives the same weights.
    What could keep the bundle from being written is refused before the training, not after it.

    Returns:
        The bundle's folder.

    Raises:
        DatasetError: the dataset is not what it should be.
        BundleError: the folder for the bundle holds something else, or cannot be written.
        OptionError: an option that does not fit.
        KeyboardInterrupt: Ctrl-C; nothing was written.
    """
    _check_out(config.out)
    train_set = read_dataset(config.data, config.train_split)
    val_set = read_dataset(config.data, config.val_split) if config.val_split else None
    for images in filter(None, (train_set, val_set)):
        log.info("%s", images)
    spec = _spec(config, train_set)
    with _torch_apart(config.threads):
        network, outcome = fit(config, load_pixels(train_set, config.input()), train_set.labels())
        weights = {name: tensor.detach() for name, tensor in network.state_dict().items()}
        spec = spec.model_copy(update={"training": {**(spec.training or {}), "outcome": outcome}})
        references = _reference_inputs(config)
        encoder = save_encoder(config.out, spec, weights, references)
        if val_set is not None:
            # Measured on the encoder as it is served, which is therefore written first.
            evaluation = evaluate(encoder, val_set)
            save_encoder(
                config.out, spec.model_copy(update={"evaluation": evaluation.record()}), weights, references
            )
            for direction, result in evaluation.directions.items():
                log.info(
                    "%s, %s: rank-1 %.3f, mAP %.3f (%d queries, %d without a positive)",
                    val_set.split,
                    direction,
                    result.rank[1],
                    result.mean_average_precision,
                    result.queries,
                    result.skipped,
                )
    log.info("The bundle is in %s", config.out)
    return config.out


def fit(
    config: TrainConfig, pixels: Pixels, labels: npt.NDArray[np.int64]
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network trained on pictures in memory, and how that went.

    Args:
        config: its paths and splits are not looked at.
        pixels: (N, H, W, 3) uint8 RGB.
        labels: (N,) the identities.

    Raises:
        DatasetError: fewer identities than a batch needs.
        NonFiniteError: training diverged.
        KeyboardInterrupt: Ctrl-C, after a line that says how far it came.
    """
    sampler = PKSampler(labels, identities=config.identities, images=config.images, seed=config.seed)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (N, 3, H, W), a view
    identities = torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config.network, dimension=config.dimension)
    network.train()
    optimizer = _optimizer(network, config)
    report = Report(config.steps, config.minutes)
    step = 0
    try:
        with report:
            while (done := report.share_done(step)) < 1:
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * _schedule(done)
                rows = torch.from_numpy(sampler.batch(step))
                changed = augment(images[rows], np.random.default_rng([config.seed, 1, step]))
                x = ((changed - _MEAN) / _STD).contiguous(memory_format=torch.channels_last)

                embeddings = network(x)  # (P K, D)
                result = batch_triplet_loss(
                    embeddings,
                    identities[rows],
                    mining=config.mining,
                    margin=config.margin,
                    normalize=config.normalize,
                )
                optimizer.zero_grad()
                result.loss.backward()  # type: ignore[no-untyped-call]  # of torch
                nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
                optimizer.step()

                step += 1
                report.step(step, result, embeddings.detach())
    except KeyboardInterrupt:
        log.warning("Stopped by Ctrl-C after step %d. Nothing was written.", step)
        raise
    return network.eval(), report.outcome(step)


def _check_out(out: Path) -> None:
    """Raise BundleError where the bundle's folder could not be made, or not be replaced."""
    try:
        check_destination(out)
        parent = next(path for path in out.resolve().parents if path.exists())
    except OSError as error:
        raise BundleError(f"{out} cannot be looked at: {error.strerror}.") from error
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise BundleError(f"{out} cannot be made: {parent} is no folder that may be written to.")


def _spec(config: TrainConfig, train_set: ImageSet) -> EncoderSpec:
    """Return what the bundle will say, all but the outcome and the evaluation.

    Raises:
        OptionError: an option that no bundle can have.
    """
    return make_record(
        EncoderSpec,
        name=config.name,
        description=config.description,
        intended_use=config.intended_use,
        licence=config.licence,
        architecture=Architecture(name=config.network, params={"dimension": config.dimension}),
        input=config.input(),
        dimension=config.dimension,
        normalize=config.normalize,
        metric="euclidean",
        training={
            "dataset": train_set.name,
            "images": len(train_set),
            "identities": len(train_set.identities),
            "config": config.record(),
            "outcome": None,
            "torch": str(torch.__version__),
        },
    )


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW that lets biases and the scales of normalisation alone."""
    kernels = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _schedule(done: float) -> float:
    """Return the learning rate's factor: up to 1 in a line, then down to 0 along a cosine."""
    if done < _WARM_UP:
        return (done + 0.1 * _WARM_UP) / (1.1 * _WARM_UP)
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


@contextmanager
def _torch_apart(threads: int) -> Iterator[None]:
    """Give torch a number of threads, and put that and its random generator back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def _reference_inputs(config: TrainConfig) -> Pixels:
    """Draw the pictures whose embeddings a bundle is checked with; nobody's data is among them."""
    pictures = []
    for identity in range(1, 5):
        file = BytesIO()
        draw_vehicle(identity, 0).save(file, "PNG")
        pictures.append(decode(file.getvalue(), (config.height, config.width)))
    return np.stack(pictures)
