"""A small residual network with squeeze-and-excitation, for a CPU."""

import torch
from torch import Tensor, nn

__all__ = ["SmallResNet"]


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
        channels: of the pictures, 3 or 1.
    """

    def __init__(self, dimension: int = 128, *, channels: int = 3) -> None:
        super().__init__()
        self.dimension = dimension
        self.features = nn.Sequential(
            nn.Conv2d(channels, 24, 3, stride=2, padding=1, bias=False),
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
        """Return (B, D) embeddings of (B, channels, H, W) pictures."""
        features = self.features(x)  # (B, C, H / 16, W / 16)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)  # (B, 2 C)
        embedding: Tensor = self.embedding(pooled)
        return embedding
