"""Encoder architectures in plain PyTorch, by name.

A network maps normalised pictures (B, C, H, W) float32 to embeddings (B, D) float32, of any length:
whether they are L2-normalised afterwards is written in the bundle and done by the runtime. Every one
takes `dimension` (D) and `channels` (C), and has its D as an attribute. A bundle names its architecture
and parameters, so a name in `NETWORKS` keeps its meaning for ever; a change to the layers of one is a
new name.
"""

from collections.abc import Callable, Mapping
from typing import cast

from torch import nn

from models.errors import OptionError
from models.networks.bnneck import Necked
from models.networks.character_net import CharacterNet
from models.networks.mobilefacenet import MobileFaceNet
from models.networks.osnet import osnet_x0_5, osnet_x0_25, osnet_x0_75, osnet_x1_0
from models.networks.resnet_ibn import resnet50, resnet50_ibn
from models.networks.small_resnet import SmallResNet
from models.networks.transformers_vision import TransformersVision

__all__ = ["NETWORKS", "Necked", "build_network"]

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "character_net": CharacterNet,
    "mobilefacenet": MobileFaceNet,
    "osnet_x0_25": osnet_x0_25,
    "osnet_x0_5": osnet_x0_5,
    "osnet_x0_75": osnet_x0_75,
    "osnet_x1_0": osnet_x1_0,
    "resnet50": resnet50,
    "resnet50_ibn": resnet50_ibn,
    "small_resnet": SmallResNet,
    "transformers": TransformersVision,
}


def build_network(name: str, **params: object) -> nn.Module:
    """Return a new network of the named architecture, its weights drawn from torch's global generator.

    Args:
        name: a key of `NETWORKS`.
        params: the keyword arguments of its constructor, `dimension` and `channels` among them; and `neck`:
            whether to put a BNNeck behind it (False unless given). The result is then a `Necked`.

    Raises:
        OptionError: no architecture of that name, or a parameter that it does not take.
    """
    if name not in NETWORKS:
        raise OptionError(f"There is no network {name!r}; known are {', '.join(sorted(NETWORKS))}.")
    for param in ("dimension", "channels"):
        value = params.get(param, 1)
        if type(value) is not int or value < 1:  # True is an int to isinstance
            raise OptionError(f"{param} must be a whole number from 1 on, not {value!r}.", argument=param)
    neck = params.pop("neck", False)
    if not isinstance(neck, bool):
        raise OptionError(f"neck must be true or false, not {neck!r}.", argument="neck")
    try:
        network = NETWORKS[name](**params)
    except TypeError as error:
        raise OptionError(f"Network {name!r} does not take these parameters: {error}.") from error
    return Necked(network, cast("int", network.dimension)) if neck else network
