"""Everything that decides what a training comes to."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from models.augmentation import AUGMENTATIONS
from models.batch_losses import MININGS
from models.errors import OptionError
from models.manifest import InputSpec, make_record
from models.margins import Margin, check_margin
from models.networks import NETWORKS
from models.networks.transformers_vision import plain_config
from models.virtual_classes import FurtherClasses

__all__ = ["MEAN", "STD", "TrainConfig"]

MEAN, STD = 127.5, 64.0

_SAID_ELSEWHERE = frozenset(
    {"data", "out", "name", "description", "intended_use", "licence", "report_pictures"}
)
_COUNTS = ("together", "steps", "save_steps", "threads", "dimension")
_AMOUNTS = ("minutes", "save_minutes", "learning_rate", "clip_norm")
_WEIGHTS = ("triplet_weight", "id_weight", "weight_decay")
_SHARES = ("label_smoothing", "warm_up", "ema_decay", "compounds")

# Each option's range as a test, which NaN fails, and in words.
_RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("identities", "images", "chunk"), lambda value: value >= 2, "at least 2"),
    (("height", "width"), lambda value: 8 <= value <= 4096, "from 8 to 4096 pixels"),
    (_COUNTS, lambda value: value >= 1, "at least 1"),
    (_AMOUNTS, lambda value: 0 < value < math.inf, "above 0 and finite"),
    (_WEIGHTS, lambda value: 0 <= value < math.inf, "at least 0 and finite"),
    (_SHARES, lambda value: 0 <= value < 1, "at least 0 and below 1"),
    (("seed",), lambda value: 0 <= value < 2**63, "from 0 to 2**63 - 1"),
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what comes out; the bundle keeps it, paths left out.

    Attributes:
        data: the dataset's folder, see `models.datasets`.
        out: the bundle's folder. Beside it, in `<out>.training`, are the checkpoint and what was logged.
        name, description, intended_use, licence: what the bundle says of itself.
        train_split: what is learned from.
        val_split: what the bundle's figures are measured on; None measures nothing.
        hold_out: a share of the identities of `train_split`, or the names of groups of it, that are not
            learned from but measured on, in place of `val_split`; see `models.datasets.hold_out`.
        report_pictures: whether the bundle's report shows pictures of what it was measured on.
        network: one of `models.networks.NETWORKS`.
        network_config: for the network transformers, the JSON of a vision configuration, as in a public
            config.json; None for every other.
        neck: whether a batch normalisation (BNNeck) stands between the embedding that the triplet loss sees
            and the one that the identity loss sees and the bundle gives.
        pretrained: weights to begin with; None begins with random ones.
        dimension: D of the embeddings.
        height, width: of the network's input, in pixels.
        channels: what the network sees: rgb, or grey.
        augmentation: one of `models.augmentation.AUGMENTATIONS`.
        further_classes: what turned pictures count as, see `models.virtual_classes`.
        compounds: the share of a batch's identities that become others by a small mark, see
            `models.augmentation.compounds`; for characters.
        identities, images: P and K of the batches.
        camera_balanced: whether an identity's K pictures are spread over its cameras.
        together: how many identities of a batch come from one group each (Omniglot's alphabets); 1 does not
            look at groups.
        mining: which triplets of a batch count, one of `models.losses.MININGS`.
        margin: of the triplet loss, or "soft".
        normalize: whether embeddings are L2-normalised, in the triplet loss and ever after.
        triplet_weight, id_weight: of the triplet loss, and of the cross-entropy over the training identities.
        label_smoothing: of the cross-entropy.
        learning_rate: the highest, reached after the warm-up; it falls to 0 along a cosine.
        warm_up: the share of training in which the learning rate rises; without it, batch-hard collapses.
        weight_decay: AdamW's, on matrices and kernels only.
        clip_norm: the largest norm of a step's gradient.
        ema_decay: of the moving average of the weights that is bundled; None bundles the last weights.
        steps: how long to train.
        minutes: a time budget in place of `steps`; the outcome then depends on the machine's speed.
        chunk: how many pictures go through the network at once, see `models.training.caching`; None, all.
        device: auto takes a GPU where there is one.
        precision: of the network's products; losses and weights are float32 in any case.
        seed: of the first weights, the batches and the augmentation.
        threads: torch's; another number may change the last bits.
        save_steps, save_minutes: how often a checkpoint is written; None, not by that measure.
    """

    data: Path
    out: Path
    name: str = "encoder"
    description: str = ""
    intended_use: str = ""
    licence: str = ""
    train_split: str = "train"
    val_split: str | None = "val"
    hold_out: float | tuple[str, ...] | None = None
    report_pictures: bool = True
    network: str = "small_resnet"
    network_config: str | None = None
    neck: bool = False
    pretrained: Path | None = None
    dimension: int = 128
    height: int = 96
    width: int = 96
    channels: Literal["rgb", "grey"] = "rgb"
    augmentation: str = "camera"
    further_classes: FurtherClasses = "none"
    compounds: float = 0.0
    identities: int = 48
    images: int = 2
    camera_balanced: bool = False
    together: int = 1
    mining: Literal["all", "hard", "semi_hard"] = "all"
    margin: Margin = 0.2
    normalize: bool = True
    triplet_weight: float = 1.0
    id_weight: float = 0.0
    label_smoothing: float = 0.1
    learning_rate: float = 2e-3
    warm_up: float = 0.07
    weight_decay: float = 0.05
    clip_norm: float = 5.0
    ema_decay: float | None = None
    steps: int = 1000
    minutes: float | None = None
    chunk: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0
    threads: int = 2
    save_steps: int | None = None
    save_minutes: float | None = 5.0

    def __post_init__(self) -> None:
        self._check_names()
        for names, fits, range_ in _RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not fits(value):
                    raise OptionError(f"{name} is {value}; it must be {range_}.", argument=name)
        check_margin(self.margin)
        self._check_sense()
        if self.further_classes != "none" and self.height != self.width:
            raise OptionError(
                f"further_classes {self.further_classes} turns pictures, and {self.height} x {self.width} is "
                "not square. Ask for an input of equal height and width.",
                argument="further_classes",
            )
        if self.compounds and self.id_weight:
            raise OptionError(
                "compounds makes identities that no classifier knows: leave it, or id_weight.",
                argument="compounds",
            )
        if self.compounds and self.channels != "grey":
            raise OptionError(
                "compounds adds dark strokes, which is for characters on light paper: take channels grey, or "
                "leave it.",
                argument="compounds",
            )
        if (self.network == "transformers") != (self.network_config is not None):
            raise OptionError(
                "The network transformers needs network_config (a config.json), and no other takes one.",
                argument="network_config",
            )

    def record(self) -> dict[str, Any]:
        """Return it without what is said elsewhere in the manifest, and without paths of this machine."""
        record = {name: value for name, value in asdict(self).items() if name not in _SAID_ELSEWHERE}
        config = self.network_config and plain_config(self.network_config)
        return record | {"pretrained": self.pretrained and self.pretrained.name, "network_config": config}

    def input(self) -> InputSpec:
        """Return how pictures become the network's input.

        Raises:
            OptionError: a height or width that no input can have.
        """
        depth = 1 if self.channels == "grey" else 3
        return make_record(
            InputSpec,
            height=self.height,
            width=self.width,
            channels=self.channels,
            mean=(MEAN,) * depth,
            std=(STD,) * depth,
        )

    def architecture(self) -> dict[str, int | float | str | bool]:
        """Return the parameters that the network is built with; what is usual is left out.

        Raises:
            OptionError: a network_config that is none.
        """
        params: dict[str, int | float | str | bool] = {"dimension": self.dimension}
        if self.network_config is not None:
            params["config"] = plain_config(self.network_config)
        if self.channels == "grey":
            params["channels"] = 1
        if self.neck:
            params["neck"] = True
        if self.network.startswith("osnet") and self.pretrained is None:
            # Public weights end in a ReLU; what is compared by angle had better use all directions.
            params["rectified"] = False
        return params

    def _check_sense(self) -> None:
        """Refuse numbers that are in their ranges and come to nothing together."""
        if not self.triplet_weight + self.id_weight > 0:
            raise OptionError("triplet_weight and id_weight are both 0: nothing is learned.")
        if self.dimension == 1 and self.normalize:
            raise OptionError(
                "dimension is 1, and a single number that is normalised is 1 or -1: all embeddings collapse "
                "to that. Take a larger dimension, such as 128.",
                argument="dimension",
            )

    def _check_names(self) -> None:
        """Refuse a word that is none of those that the option knows."""
        known: dict[str, tuple[str, ...]] = {
            "network": tuple(sorted(NETWORKS)),
            "augmentation": tuple(AUGMENTATIONS),
            "mining": MININGS,
        }
        hints = get_type_hints(TrainConfig)
        for field in fields(self):
            if set(map(type, get_args(hints[field.name]))) == {str}:
                known.setdefault(field.name, get_args(hints[field.name]))
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise OptionError(
                    f"{name} is {getattr(self, name)!r}; known are {', '.join(words)}.", argument=name
                )
