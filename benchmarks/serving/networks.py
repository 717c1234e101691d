"""The two networks that are served, in plain PyTorch: a ResNet-18 for faces' size, and OSNet x0.25.

What they cost is measured, not what they find, so their weights are drawn from a seed. Their batch
normalisation is set by pictures, as training would: else every picture would have nearly one embedding, and
an answer that belongs to another picture would pass the check.
"""

import torch
from torch import Tensor, nn

from models.networks.osnet import osnet_x0_25

__all__ = ["ResNet18", "build", "settle"]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut.

    Source: He et al., Deep Residual Learning, 2015, figure 2.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 with a linear layer in place of its classifier: 11.4 million parameters.

    Source: He et al., Deep Residual Learning, 2015, table 1.
    """

    def __init__(self, dimension: int = 512) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            stages += [BasicBlock(channels, width, stride), BasicBlock(width, width, 1)]
            channels = width
        self.body = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            *stages,
        )
        self.embedding = nn.Linear(channels, dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, 3, H, W) pictures."""
        embedding: Tensor = self.embedding(self.body(x).mean(dim=(2, 3)))
        return embedding


def build(name: str) -> nn.Module:
    """Return a network by name, its weights drawn from a seed."""
    torch.manual_seed(0)
    return ResNet18() if name == "resnet18" else osnet_x0_25()


@torch.no_grad()
def settle(network: nn.Module, pictures: Tensor) -> nn.Module:
    """Set every batch normalisation to the mean and variance that (B, 3, H, W) pictures have there."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.reset_running_stats()
            module.momentum = 1.0
    network.train()(pictures)
    return network.eval()
