"""Encoder architectures in plain PyTorch, by name.

A network maps a normalised picture (B, 3, H, W) float32 to an embedding (B, D) float32, of any
length: whether it is L2-normalised afterwards is written in the bundle and done by the runtime.
A bundle names its architecture and parameters, so a name in `NETWORKS` keeps its meaning for ever;
a change to the layers of one is a new name.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.errors import OptionError

__all__ = ["NETWORKS", "SmallResNet", "build_network"]


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut, with squeeze-and-excitation before the sum.

    Source: He et al., Identity Mappings, 2015, figure 2; Hu et al., Squeeze-and-Excitation, 2018, figure 3.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.excitation = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 8, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 8, channels, 1),
            nn.Sigmoid(),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
            nn.Conv2d(channels_in, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        if stride == 1 and channels_in == channels:
            self.shortcut = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H / stride, W / stride)."""
        y = self.body(x)
        return torch.relu(self.shortcut(x) + y * self.excitation(y))


class SmallResNet(nn.Module):
    """A residual network of 1.24 million parameters for crops of about 100 pixels.

    A stem at half resolution and four stages at 1/2, 1/4, 1/8 and 1/16; then the mean and the maximum
    over the positions side by side, and one linear layer.

    Args:
        dimension: D of the embeddings.
    """

    def __init__(self, dimension: int = 128) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(inplace=True),
            Residual(24, 24, stride=1),
            Residual(24, 64, stride=2),
            Residual(64, 128, stride=2),
            Residual(128, 128, stride=1),
            Residual(128, 192, stride=2),
        )
        self.embedding = nn.Linear(2 * 192, dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, 3, H, W) pictures."""
        features = self.features(x)  # (B, C, H / 16, W / 16)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)  # (B, 2 C)
        embedding: Tensor = self.embedding(pooled)
        return embedding


NETWORKS: dict[str, Callable[..., nn.Module]] = {"small_resnet": SmallResNet}


def build_network(name: str, **params: object) -> nn.Module:
    """Return a new network of the named architecture, its weights drawn from torch's global generator.

    Args:
        name: a key of `NETWORKS`.
        params: the keyword arguments of its constructor.

    Raises:
        OptionError: no architecture of that name, or a parameter that it does not take.
    """
    if name not in NETWORKS:
        raise OptionError(f"There is no network {name!r}; known are {', '.join(sorted(NETWORKS))}.")
    try:
        return NETWORKS[name](**params)
    except TypeError as error:
        raise OptionError(f"Network {name!r} does not take these parameters: {error}.") from error
