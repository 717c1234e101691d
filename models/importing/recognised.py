"""A public state dict that was recognised, and what is common to ResNets of several libraries."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from models.importing.preparation import Preparation
from models.manifest import Architecture

__all__ = ["Recognised", "blocks", "has_ibn", "is_resnet50"]

_RESNET50 = (3, 4, 6, 3)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A state dict in our names, and the network that it is for.

    Attributes:
        title: what it is, for people.
        architecture: of ours.
        tensors: all that the network takes, by our names; what it has no place for by the file's.
        preset: the family's.
        stated: what the file says of its pictures.
        set_apart: names in the file that are not the encoder's, classifiers most often.
        notes: sentences on what the file leaves open.
    """

    title: str
    architecture: Architecture
    tensors: Mapping[str, Tensor]
    preset: str
    stated: Preparation = field(default_factory=Preparation)
    set_apart: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def blocks(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return how many residual blocks each stage layer1, layer2 ... has."""
    stages: list[int] = []
    while f"layer{len(stages) + 1}.0.conv1.weight" in tensors:
        prefix = f"layer{len(stages) + 1}."
        numbers = {name.split(".")[1] for name in tensors if name.startswith(prefix)}
        stages.append(len(numbers))
    return tuple(stages)


def is_resnet50(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether the names are of a ResNet-50 of plain bottlenecks, without and with IBN-a."""
    stem, middle = tensors.get("conv1.weight"), tensors.get("layer1.0.conv2.weight")
    return (
        blocks(tensors) == _RESNET50
        and "layer1.0.conv3.weight" in tensors
        and stem is not None
        and middle is not None
        and (len(stem), *stem.shape[2:]) == (64, 7, 7)
        and middle.shape == (64, 64, 3, 3)  # ResNeXt's and wide ones have other shapes
    )


def has_ibn(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether IBN-a is in the blocks of a ResNet."""
    return "layer1.0.bn1.IN.weight" in tensors
