"""OSNet: omni-scale features at 0.2 to 2 million parameters, made for re-identification.

The attributes are named as in torchreid, whose public checkpoints load by name. Their identity classifier has
no place here: it belongs to a training set.

Source: Zhou et al., Omni-Scale Feature Learning for Person Re-Identification, 2019.
"""

import torch
from torch import Tensor, nn

__all__ = ["OSNet", "osnet_x0_5", "osnet_x0_25", "osnet_x0_75", "osnet_x1_0"]


class ConvNorm(nn.Module):
    """A convolution without bias, batch normalisation, and a ReLU unless it is linear."""

    def __init__(
        self, channels_in: int, channels: int, *, kernel: int = 1, stride: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H / stride, W / stride)."""
        y: Tensor = self.bn(self.conv(x))
        return y if self.linear else torch.relu(y)


class LiteConv3x3(nn.Module):
    """A 3 x 3 convolution in two factors: across channels first, then over positions in each channel.

    Source: Zhou et al. 2019, figure 3b.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input's shape."""
        return torch.relu(self.bn(self.conv2(self.conv1(x))))


class AggregationGate(nn.Module):
    """Weights of a stream's channels, from the stream itself; one gate serves all streams of a block.

    Source: Zhou et al. 2019, equation 3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        # The narrow networks have one hidden unit; a gate whose only ReLU starts closed never learns.
        self.fc1.bias = nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Return the stream (B, C, H, W), its channels weighted from 0 to 1."""
        squeezed = torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))
        return x * torch.sigmoid(self.fc2(squeezed))


class OmniScaleBlock(nn.Module):
    """Four streams of 1 to 4 lite convolutions see 3, 5, 7 and 9 pixels; their gated sum joins a shortcut.

    Source: Zhou et al. 2019, figure 4b.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.conv1 = ConvNorm(channels_in, width)
        self.conv2a = LiteConv3x3(width)
        self.conv2b = nn.Sequential(*(LiteConv3x3(width) for _ in range(2)))
        self.conv2c = nn.Sequential(*(LiteConv3x3(width) for _ in range(3)))
        self.conv2d = nn.Sequential(*(LiteConv3x3(width) for _ in range(4)))
        self.gate = AggregationGate(width)
        self.conv3 = ConvNorm(width, channels, linear=True)
        self.downsample: nn.Module = nn.Identity()
        if channels_in != channels:
            self.downsample = ConvNorm(channels_in, channels, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H, W)."""
        y = self.conv1(x)
        scales: Tensor = self.gate(self.conv2a(y))
        for stream in (self.conv2b, self.conv2c, self.conv2d):
            scales = scales + self.gate(stream(y))
        return torch.relu(self.downsample(x) + self.conv3(scales))


class OSNet(nn.Module):
    """A stem, three stages of two omni-scale blocks down to 1/16, the mean over positions, one linear layer.

    Pictures need at least 13 pixels a side.

    Args:
        width: the factor of the number of channels.
        dimension: D of the embeddings.
        channels: of the pictures, 3 or 1.
        rectified: whether a ReLU ends it, as in the public checkpoints; without one, embeddings may point in
            all directions.
    """

    def __init__(self, width: float, dimension: int, *, channels: int, rectified: bool) -> None:
        super().__init__()
        self.dimension = dimension
        self.rectified = rectified
        stem, first, second, third = (round(width * full) for full in (64, 256, 384, 512))
        self.conv1 = ConvNorm(channels, stem, kernel=7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(stem, first, halving=True)
        self.conv3 = _stage(first, second, halving=True)
        self.conv4 = _stage(second, third, halving=False)
        self.conv5 = ConvNorm(third, third)
        self.fc = nn.Sequential(nn.Linear(third, dimension), nn.BatchNorm1d(dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, channels, H, W) pictures."""
        y = self.maxpool(self.conv1(x))
        y = self.conv5(self.conv4(self.conv3(self.conv2(y))))  # (B, 512 width, H / 16, W / 16)
        embedding: Tensor = self.fc(y.mean(dim=(2, 3)))
        return torch.relu(embedding) if self.rectified else embedding


def osnet_x1_0(dimension: int = 512, *, channels: int = 3, rectified: bool = True) -> OSNet:
    """Return an OSNet of full width: 2.2 million parameters."""
    return OSNet(1.0, dimension, channels=channels, rectified=rectified)


def osnet_x0_75(dimension: int = 512, *, channels: int = 3, rectified: bool = True) -> OSNet:
    """Return an OSNet of three quarters of the width: 1.3 million parameters."""
    return OSNet(0.75, dimension, channels=channels, rectified=rectified)


def osnet_x0_5(dimension: int = 512, *, channels: int = 3, rectified: bool = True) -> OSNet:
    """Return an OSNet of half the width: 0.6 million parameters."""
    return OSNet(0.5, dimension, channels=channels, rectified=rectified)


def osnet_x0_25(dimension: int = 512, *, channels: int = 3, rectified: bool = True) -> OSNet:
    """Return an OSNet of a quarter of the width: 0.2 million parameters."""
    return OSNet(0.25, dimension, channels=channels, rectified=rectified)


def _stage(channels_in: int, channels: int, *, halving: bool) -> nn.Sequential:
    blocks = [OmniScaleBlock(channels_in, channels), OmniScaleBlock(channels, channels)]
    if not halving:
        return nn.Sequential(*blocks)
    return nn.Sequential(*blocks, nn.Sequential(ConvNorm(channels, channels), nn.AvgPool2d(2, stride=2)))
