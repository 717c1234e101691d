"""MobileFaceNet: 1 million parameters, made for aligned faces of 112 x 112 pixels.

Source: Chen et al., MobileFaceNets: Efficient CNNs for Accurate Real-time Face Verification, 2018.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GlobalDepthwise", "MobileFaceNet"]

# Of each stage: expansion, channels, blocks, stride of the first (Chen et al. 2018, table 1).
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class GlobalDepthwise(nn.Module):
    """A weighted mean over all positions, with weights of its own for every channel.

    At 7 x 7 features (a picture of 112 x 112) it is the paper's global depthwise convolution. Features of
    another size are weighted by the same map, stretched to fit: it has learnt where in the picture to look.

    Source: Chen et al. 2018, equation 1.
    """

    def __init__(self, channels: int, size: int = 7) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, size, size))
        nn.init.normal_(self.weight, mean=1.0, std=0.5)  # about the mean, which a plain pooling would take

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C) of (B, C, H, W) features."""
        weight = F.interpolate(self.weight, size=x.shape[2:], mode="bilinear")  # (C, 1, H, W)
        return (x * weight.squeeze(1)).mean(dim=(2, 3))


class InvertedResidual(nn.Module):
    """1 x 1 up, 3 x 3 in each channel, 1 x 1 down without activation; a shortcut where the shapes agree.

    Source: Sandler et al., MobileNetV2, 2018, figure 3b; PReLU as in Chen et al. 2018.
    """

    def __init__(self, channels_in: int, channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        width = channels_in * expansion
        self.body = nn.Sequential(
            *_conv_norm(channels_in, width, 1),
            nn.PReLU(width),
            *_conv_norm(width, width, 3, stride=stride, groups=width),
            nn.PReLU(width),
            *_conv_norm(width, channels, 1),
        )
        self.shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H / stride, W / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class MobileFaceNet(nn.Module):
    """A stem, fifteen inverted residuals down to 1/16, a global depthwise convolution, one linear layer.

    Args:
        dimension: D of the embeddings.
        channels: of the pictures, 3 or 1.
    """

    def __init__(self, dimension: int = 128, *, channels: int = 3) -> None:
        super().__init__()
        self.dimension = dimension
        layers: list[nn.Module] = [
            *_conv_norm(channels, 64, 3, stride=2),
            nn.PReLU(64),
            *_conv_norm(64, 64, 3, groups=64),
            nn.PReLU(64),
        ]
        width = 64
        for expansion, stage_width, blocks, first_stride in _STAGES:
            for block in range(blocks):
                stride = first_stride if block == 0 else 1
                layers.append(InvertedResidual(width, stage_width, expansion=expansion, stride=stride))
                width = stage_width
        self.body = nn.Sequential(*layers, *_conv_norm(width, 512, 1), nn.PReLU(512))
        self.pooling = nn.Sequential(GlobalDepthwise(512), nn.BatchNorm1d(512))
        self.embedding = nn.Sequential(nn.Linear(512, dimension, bias=False), nn.BatchNorm1d(dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, channels, H, W) pictures."""
        embedding: Tensor = self.embedding(self.pooling(self.body(x)))
        return embedding


def _conv_norm(
    channels_in: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(channels)
