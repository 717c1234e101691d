"""What a person says about an encoder from elsewhere, and what they are told of it."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from models.images import Resize
from models.importing.preparation import Metric
from models.manifest import Channels
from models.runtime import Encoder

__all__ = ["TAKES", "ImportOptions", "ImportReport", "Take"]

# What of a network is the embedding, where there is a choice.
Take = Literal["pooled", "cls", "mean", "projected", "after-neck", "before-neck"]
TAKES: tuple[Take, ...] = get_args(Take)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a file cannot say about itself; None is "not given".

    Attributes:
        name: by which the encoder is hosted.
        preset: a name of `models.importing.presets.PRESETS`, for what neither options nor file say.
        size: (height, width) of the input.
        mean, std: one number, or one a channel in the network's order, for pixels from 0 to `pixel_max`.
        pixel_max: 255, or 1 where mean and std are meant for pixels from 0 to 1.
        channels: the order that the network expects.
        normalize: whether embeddings are to be L2-normalised.
        metric, resize, output: the distance to compare by, the interpolation, an ONNX output's name.
        take: what of a state dict's or a folder's network is the embedding.
        description, intended_use, licence: sentences for the manifest.
    """

    name: str
    preset: str | None = None
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pixel_max: Literal[1, 255] = 255
    channels: Channels | None = None
    normalize: bool | None = None
    metric: Metric | None = None
    resize: Resize | None = None
    output: str | None = None
    take: Take | None = None
    description: str = ""
    intended_use: str = ""
    licence: str = "not stated"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The encoder as it will be hosted, and sentences on what was read, assumed or rewritten."""

    encoder: Encoder
    notes: list[str] = field(default_factory=list)
