"""What the families of public encoders expect of pictures, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from models.errors import OptionError
from models.importing.options import ImportOptions
from models.importing.preparation import Preparation, scaled

__all__ = ["PRESETS", "Preset", "stated"]

_IMAGENET_MEAN = (123.675, 116.28, 103.53)  # 255 times 0.485, 0.456, 0.406
_IMAGENET_STD = (58.395, 57.12, 57.375)  # 255 times 0.229, 0.224, 0.225


@dataclass(frozen=True, slots=True)
class Preset:
    """A family's numbers, and where they come from."""

    preparation: Preparation
    source: str


def _faces(std: float) -> Preparation:
    return Preparation((112, 112), (127.5,), (std,), "rgb", "bilinear", True, "cosine")


PRESETS: Mapping[str, Preset] = {
    "insightface": Preset(_faces(127.5), "the library insightface, ArcFaceONNX"),
    "arcface": Preset(_faces(128.0), "Deng et al., ArcFace, 2019, section 3.1"),
    "osnet": Preset(
        Preparation((256, 128), _IMAGENET_MEAN, _IMAGENET_STD, "rgb", "bilinear", True, "cosine"),
        "torchreid's transforms",
    ),
    "fastreid": Preset(
        Preparation((256, 128), _IMAGENET_MEAN, _IMAGENET_STD, "rgb", "bicubic", True, "cosine"),
        "FastReID's defaults and its bag of tricks; its SBS have 384 x 128",
    ),
    "imagenet": Preset(
        Preparation((224, 224), _IMAGENET_MEAN, _IMAGENET_STD, "rgb", "bilinear", True, "cosine"),
        "torchvision's ImageNet weights",
    ),
}


def stated(options: ImportOptions, file: Preparation, implied: str | None = None) -> Preparation:
    """Put together what the options say, what the file says, and what the preset says, in this order.

    Args:
        options: a person's; its preset comes before the implied one.
        file: what was read from the encoder itself.
        implied: the preset of the family that the encoder was recognised as.

    Raises:
        OptionError: there is no such preset, or mean and std look as if meant for another range of pixels.
    """
    if options.preset is not None and options.preset not in PRESETS:
        message = f"There is no preset {options.preset!r}; known are {', '.join(PRESETS)}."
        raise OptionError(message, argument="preset")
    _check_range(options)
    given = Preparation(
        size=options.size,
        mean=scaled(options.mean, options.pixel_max),
        std=scaled(options.std, options.pixel_max),
        channels=options.channels,
        resize=options.resize,
        normalize=options.normalize,
        metric=options.metric,
    )
    preset = options.preset or implied
    known = given.completed(file)
    return known if preset is None else known.completed(PRESETS[preset].preparation)


def _check_range(options: ImportOptions) -> None:
    """Refuse numbers that are plainly meant for the other range of pixels."""
    mean, std = options.mean or (), options.std or ()
    if options.pixel_max == 255 and any(0 < value < 1 for value in (*mean, *std)):
        raise OptionError(
            f"A mean of {mean} and std of {std} look as if they were meant for pixels from 0 to 1. "
            "Then add --pixel-max 1; else give them for pixels from 0 to 255."
        )
    if options.pixel_max == 1 and any(value > 1 for value in mean):
        raise OptionError(
            f"A mean of {mean} looks as if it were meant for pixels from 0 to 255. "
            "Then leave --pixel-max away; else give it for pixels from 0 to 1."
        )
