"""ResNet-50 as the strong re-identification baselines use it: IBN-a, last stride 1, GeM pooling.

The attributes are named as in torchvision's ResNet-50, in IBN-Net's public checkpoints and in FastReID's
backbones, which load by name. Their classifiers have no place here.
"""

import torch
from torch import Tensor, nn

from models.errors import OptionError
from models.networks.pooling import GeM

__all__ = ["ResNet50", "resnet50", "resnet50_ibn"]

_BLOCKS = (3, 4, 6, 3)
_EXPANSION = 4


class InstanceBatchNorm(nn.Module):
    """Instance normalisation of one half of the channels, batch normalisation of the other.

    The first half forgets each picture's own contrast and colour cast, the second keeps them.
    At a single position there is nothing to measure, and the first half becomes its bias.

    Source: Pan et al., Two at Once (IBN-Net), 2018, figure 3a.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = channels // 2
        self.IN = nn.GroupNorm(self.first, self.first)  # a group a channel: instance normalisation
        self.BN = nn.BatchNorm2d(channels - self.first)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input's shape."""
        # Not by calling the module: it asks about the shape, which refuses one picture of one position, and
        # which a trace to ONNX cannot record.
        instance = torch.group_norm(x[:, : self.first], self.first, self.IN.weight, self.IN.bias, self.IN.eps)
        return torch.cat([instance, self.BN(x[:, self.first :])], dim=1)


class Bottleneck(nn.Module):
    """1 x 1 down, 3 x 3 (with the stride), 1 x 1 up, around a shortcut.

    Source: He et al., Deep Residual Learning, 2015, figure 5; the stride's place as in torchvision.
    """

    def __init__(self, channels_in: int, width: int, *, stride: int, ibn: bool) -> None:
        super().__init__()
        channels = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1: nn.Module = InstanceBatchNorm(width) if ibn else nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = nn.Sequential()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4 width, H / stride, W / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class NonLocal(nn.Module):
    """Every position sees a mean over all positions, weighted by how well the two go together.

    The weights are products without a softmax, so the mean over N positions can be summed once for all:
    theta (phi g) / N in place of (theta phi) g / N.

    Args:
        channels: of the features.
        inner: channels of the three projections.

    Source: Wang et al., Non-local Neural Networks, 2018, equation 4 (dot product).
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.g = nn.Conv2d(channels, inner, 1)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)  # it starts as the identity
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input's shape."""
        theta, phi, g = (projection(x).flatten(2) for projection in (self.theta, self.phi, self.g))
        context = g @ phi.transpose(1, 2) / phi.shape[2]  # (B, inner, inner)
        mean = (context @ theta).reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        weighted: Tensor = self.W(mean)
        return x + weighted


class ResNet50(nn.Module):
    """Stem, four stages of bottlenecks, generalised-mean pooling, and a linear layer if D is not 2,048.

    Args:
        dimension: D of the embeddings.
        channels: of the pictures, 3 or 1.
        ibn: IBN-a in the first three stages.
        last_stride: of the fourth stage; 1 keeps the map twice as fine (Sun et al. 2018), 2 is the original.
        padded: whether the stem's pooling begins one position before the picture, as in torchvision;
            FastReID's begins at the first.
        non_local: inner channels of the non-local blocks behind the last two blocks of the second stage and
            the last three of the third, as in AGW (Ye et al. 2020) and FastReID; 0 has none.

    Raises:
        OptionError: another last stride, or fewer inner channels than 0.
    """

    def __init__(
        self,
        dimension: int,
        *,
        channels: int,
        ibn: bool,
        last_stride: int,
        padded: bool = True,
        non_local: int = 0,
    ) -> None:
        if last_stride not in (1, 2):
            raise OptionError(f"last_stride must be 1 or 2, not {last_stride!r}.", argument="last_stride")
        if type(non_local) is not int or non_local < 0:
            message = f"non_local must be a whole number from 0 on, not {non_local!r}."
            raise OptionError(message, argument="non_local")
        super().__init__()
        self.dimension = dimension
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=int(padded), ceil_mode=not padded)
        self.layer1 = _stage(64, 64, stride=1, ibn=ibn)
        self.layer2 = _stage(256, 128, stride=2, ibn=ibn)
        self.layer3 = _stage(512, 256, stride=2, ibn=ibn)
        self.layer4 = _stage(1024, 512, stride=last_stride, ibn=False)
        self.NL_2 = nn.ModuleList(NonLocal(512, non_local) for _ in range(2 if non_local else 0))
        self.NL_3 = nn.ModuleList(NonLocal(1024, non_local) for _ in range(3 if non_local else 0))
        self.pooling = GeM()
        self.embedding = nn.Identity() if dimension == 2048 else nn.Linear(2048, dimension)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, channels, H, W) pictures."""
        y = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        y = _through(self.layer3, self.NL_3, _through(self.layer2, self.NL_2, self.layer1(y)))
        y = self.layer4(y)  # (B, 2048, H / 16, W / 16) at last stride 1
        embedding: Tensor = self.embedding(self.pooling(y))
        return embedding


def resnet50(
    dimension: int = 2048, *, channels: int = 3, last_stride: int = 1, padded: bool = True, non_local: int = 0
) -> ResNet50:
    """Return a ResNet-50 with batch normalisation throughout: 23.5 million parameters."""
    return ResNet50(
        dimension, channels=channels, ibn=False, last_stride=last_stride, padded=padded, non_local=non_local
    )


def resnet50_ibn(
    dimension: int = 2048, *, channels: int = 3, last_stride: int = 1, padded: bool = True, non_local: int = 0
) -> ResNet50:
    """Return a ResNet-50 with IBN-a: 23.5 million parameters."""
    return ResNet50(
        dimension, channels=channels, ibn=True, last_stride=last_stride, padded=padded, non_local=non_local
    )


def _through(stage: nn.Sequential, attention: nn.ModuleList, x: Tensor) -> Tensor:
    """Run a stage, its last blocks with a non-local block behind each."""
    first = len(stage) - len(attention)
    for position, block in enumerate(stage):
        x = block(x)
        if position >= first:
            x = attention[position - first](x)
    return x


def _stage(channels_in: int, width: int, *, stride: int, ibn: bool) -> nn.Sequential:
    blocks = _BLOCKS[(64, 128, 256, 512).index(width)]
    first = Bottleneck(channels_in, width, stride=stride, ibn=ibn)
    others = (Bottleneck(width * _EXPANSION, width, stride=1, ibn=ibn) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)
