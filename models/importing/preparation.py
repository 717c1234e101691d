"""How pictures are prepared for an encoder: what several sources say of it, put together."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from models.drawing import draw_vehicle
from models.errors import OptionError
from models.images import Pixels, Resize
from models.manifest import Channels, InputSpec, make_record

__all__ = ["Metric", "Preparation", "described", "reference_inputs", "scaled"]

Metric = Literal["cosine", "euclidean"]

_REFERENCES = 4


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a picture becomes the input, and an embedding is compared; None is "not stated".

    Attributes:
        size: (height, width).
        mean, std: one number, or one a channel in the network's order, for pixels from 0 to 255.
        channels, resize: the order that the network expects, and the interpolation.
        normalize, metric: whether embeddings are L2-normalised, and the distance to compare by.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: Channels | None = None
    resize: Resize | None = None
    normalize: bool | None = None
    metric: Metric | None = None

    def completed(self, other: "Preparation") -> "Preparation":
        """Return this, with what it leaves open taken from another."""
        both = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Preparation(**{name: theirs if mine is None else mine for name, mine, theirs in both})

    def check(self, source: str) -> None:
        """Ask for all that is not stated, at once; interpolation and metric have defaults.

        Args:
            source: what does not say it, to begin a sentence with.

        Raises:
            OptionError: something is missing.
        """
        asked = {
            "--size HEIGHTxWIDTH": self.size,
            "--mean (ArcFace and InsightFace: 127.5; ImageNet: 123.675,116.28,103.53)": self.mean,
            "--std (ArcFace and InsightFace: 127.5 or 128; ImageNet: 58.395,57.12,57.375)": self.std,
            "--channels rgb or bgr": self.channels,
            "--normalize or --no-normalize": self.normalize,
        }
        missing = [option for option, value in asked.items() if value is None]
        if len(missing) > 1:
            missing[0] = f"a --preset for all of it, or {missing[0]}"
        if missing:
            raise OptionError(f"{source} does not say everything. Add: {'; '.join(missing)}.")

    def input_spec(self) -> InputSpec:
        """Return how pictures are prepared; all is stated (`check`).

        Raises:
            OptionError: mean or std has a wrong number of numbers.
        """
        assert self.size is not None
        assert self.mean is not None
        assert self.std is not None
        assert self.channels is not None
        depth = 1 if self.channels == "grey" else 3
        return make_record(
            InputSpec,
            height=self.size[0],
            width=self.size[1],
            channels=self.channels,
            mean=_per_channel("--mean", self.mean, depth),
            std=_per_channel("--std", self.std, depth),
            resize=self.resize or "bilinear",
        )


def scaled(values: tuple[float, ...] | None, pixel_max: float) -> tuple[float, ...] | None:
    """Return numbers for pixels from 0 to 255 that were given for pixels from 0 to `pixel_max`."""
    return None if values is None else tuple(round(value * 255 / pixel_max, 9) for value in values)


def described(spec: InputSpec) -> str:
    """Return the sentence on how pictures are prepared."""
    mean, std = (",".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return (
        f"Pictures are resized to {spec.height} x {spec.width} (height x width), {spec.channels}, "
        f"{spec.resize}; mean {mean} and std {std} of pixels from 0 to 255."
    )


def reference_inputs(spec: InputSpec) -> Pixels:
    """Draw the (4, H, W, C) uint8 pictures whose embeddings the bundle pins."""
    pictures = [
        draw_vehicle(identity, 0, size=(spec.width, spec.height)).convert("L" if spec.depth == 1 else "RGB")
        for identity in range(_REFERENCES)
    ]
    return np.stack(
        [np.asarray(picture).reshape(spec.height, spec.width, spec.depth) for picture in pictures]
    )


def _per_channel(option: str, values: tuple[float, ...], depth: int) -> tuple[float, ...]:
    """Return one number a channel."""
    if len(values) not in (1, depth):
        raise OptionError(f"{option} takes 1 number or {depth}, one a channel; {len(values)} were given.")
    return values * depth if len(values) == 1 else values
