"""Public networks written down a second time: names and shapes of their files, and plain functions of them.

Sources: torchreid/models/osnet.py (KaiyangZhou/deep-person-reid); torchvision's ResNet; IBN-Net's IBN-a;
fastreid/modeling/backbones/resnet.py, layers/non_local.py and heads/embedding_head.py (JDAI-CV/fast-reid).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Shapes",
    "Weights",
    "fastreid_heads",
    "norm_shapes",
    "osnet_forward",
    "osnet_shapes",
    "random_weights",
    "resnet50_features",
    "resnet50_shapes",
]

Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, Tensor]

_STREAMS = {"conv2a": 1, "conv2b": 2, "conv2c": 3, "conv2d": 4}
_BLOCKS = (3, 4, 6, 3)
_NON_LOCAL = {"NL_2": (512, 2), "NL_3": (1024, 3)}


def random_weights(shapes: Shapes, seed: int = 0) -> Weights:
    """Draw weights that keep a signal's size."""
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            weights[name] = 1 + 0.3 * noise.tanh()
        elif len(shape) > 1:
            weights[name] = noise * (2 / noise[0].numel()) ** 0.5
        else:
            weights[name] = 0.1 * noise + (1 if name.endswith("weight") else 0)
    return weights


def norm_shapes(name: str, channels: int) -> Shapes:
    entries: Shapes = {
        f"{name}.{entry}": (channels,) for entry in ("weight", "bias", "running_mean", "running_var")
    }
    return entries | {f"{name}.num_batches_tracked": ()}


def _bn(weights: Weights, name: str, x: Tensor) -> Tensor:
    mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    view = (1, -1) + (1,) * (x.ndim - 2)
    return (x - mean.view(view)) / (var.view(view) + 1e-5).sqrt() * gain.view(view) + bias.view(view)


def osnet_shapes(channels: tuple[int, int, int, int], classes: int = 9) -> Shapes:
    """Return the entries of torchreid's OSNet with these channels, classifier and all."""
    stem, *stages = channels
    shapes: Shapes = {"conv1.conv.weight": (stem, 3, 7, 7)} | norm_shapes("conv1.bn", stem)
    before = stem
    for number, width in enumerate(stages, start=2):
        for block in range(2):
            shapes |= _osnet_block(f"conv{number}.{block}", before, width)
            before = width
        if number < 4:
            shapes |= {f"conv{number}.2.0.conv.weight": (width, width, 1, 1)}
            shapes |= norm_shapes(f"conv{number}.2.0.bn", width)
    shapes |= {"conv5.conv.weight": (before, before, 1, 1)} | norm_shapes("conv5.bn", before)
    shapes |= {"fc.0.weight": (512, before), "fc.0.bias": (512,)} | norm_shapes("fc.1", 512)
    return shapes | {"classifier.weight": (classes, 512), "classifier.bias": (classes,)}


def _osnet_block(name: str, before: int, width: int) -> Shapes:
    middle = width // 4
    shapes: Shapes = {f"{name}.conv1.conv.weight": (middle, before, 1, 1)} | norm_shapes(
        f"{name}.conv1.bn", middle
    )
    for stream, depth in _STREAMS.items():
        for layer in range(depth):
            place = f"{name}.{stream}" + (f".{layer}" if depth > 1 else "")
            shapes |= {f"{place}.conv1.weight": (middle, middle, 1, 1)}
            shapes |= {f"{place}.conv2.weight": (middle, 1, 3, 3)} | norm_shapes(f"{place}.bn", middle)
    hidden = middle // 16
    shapes |= {f"{name}.gate.fc1.weight": (hidden, middle, 1, 1), f"{name}.gate.fc1.bias": (hidden,)}
    shapes |= {f"{name}.gate.fc2.weight": (middle, hidden, 1, 1), f"{name}.gate.fc2.bias": (middle,)}
    shapes |= {f"{name}.conv3.conv.weight": (width, middle, 1, 1)} | norm_shapes(f"{name}.conv3.bn", width)
    if before != width:
        shapes |= {f"{name}.downsample.conv.weight": (width, before, 1, 1)}
        shapes |= norm_shapes(f"{name}.downsample.bn", width)
    return shapes


def osnet_forward(weights: Weights, x: Tensor) -> Tensor:
    """Return torchreid's (B, 512) features in evaluation mode."""

    def conv_norm(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        y = F.conv2d(x, weights[f"{name}.conv.weight"], stride=stride, padding=padding)
        return _bn(weights, f"{name}.bn", y)

    def gated(name: str, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = F.relu(F.conv2d(y, weights[f"{name}.fc1.weight"], weights[f"{name}.fc1.bias"]))
        return x * torch.sigmoid(F.conv2d(y, weights[f"{name}.fc2.weight"], weights[f"{name}.fc2.bias"]))

    def block(name: str, x: Tensor) -> Tensor:
        first = F.relu(conv_norm(f"{name}.conv1", x))
        total = torch.zeros_like(first)
        for stream, depth in _STREAMS.items():
            y = first
            for layer in range(depth):
                place = f"{name}.{stream}" + (f".{layer}" if depth > 1 else "")
                y = F.conv2d(y, weights[f"{place}.conv1.weight"])
                y = F.conv2d(y, weights[f"{place}.conv2.weight"], padding=1, groups=y.shape[1])
                y = F.relu(_bn(weights, f"{place}.bn", y))
            total = total + gated(f"{name}.gate", y)
        shortcut = conv_norm(f"{name}.downsample", x) if f"{name}.downsample.conv.weight" in weights else x
        return F.relu(conv_norm(f"{name}.conv3", total) + shortcut)

    x = F.max_pool2d(F.relu(conv_norm("conv1", x, stride=2, padding=3)), 3, stride=2, padding=1)
    for stage in ("conv2", "conv3", "conv4"):
        x = block(f"{stage}.1", block(f"{stage}.0", x))
        if stage != "conv4":
            x = F.avg_pool2d(F.relu(conv_norm(f"{stage}.2.0", x)), 2)
    x = F.relu(conv_norm("conv5", x)).mean(dim=(2, 3))
    return F.relu(_bn(weights, "fc.1", F.linear(x, weights["fc.0.weight"], weights["fc.0.bias"])))


def resnet50_shapes(*, ibn: bool = False, non_local: bool = False) -> Shapes:
    """Return the entries of a ResNet-50 without classifier, as FastReID has its non-local blocks."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7)} | norm_shapes("bn1", 64)
    before = 64
    for stage, blocks in enumerate(_BLOCKS, start=1):
        width = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes |= {f"{name}.conv1.weight": (width, before, 1, 1)}
            if ibn and stage < 4:
                shapes |= {f"{name}.bn1.IN.{entry}": (width // 2,) for entry in ("weight", "bias")}
                shapes |= norm_shapes(f"{name}.bn1.BN", width // 2)
            else:
                shapes |= norm_shapes(f"{name}.bn1", width)
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3)} | norm_shapes(f"{name}.bn2", width)
            shapes |= {f"{name}.conv3.weight": (4 * width, width, 1, 1)} | norm_shapes(
                f"{name}.bn3", 4 * width
            )
            if block == 0:
                shapes |= {f"{name}.downsample.0.weight": (4 * width, before, 1, 1)}
                shapes |= norm_shapes(f"{name}.downsample.1", 4 * width)
            before = 4 * width
    for name, (channels, count) in _NON_LOCAL.items() if non_local else ():
        for number in range(count):
            place = f"{name}.{number}"
            for projection in ("g", "theta", "phi"):
                shapes |= {
                    f"{place}.{projection}.weight": (1, channels, 1, 1),
                    f"{place}.{projection}.bias": (1,),
                }
            shapes |= {f"{place}.W.0.weight": (channels, 1, 1, 1), f"{place}.W.0.bias": (channels,)}
            shapes |= norm_shapes(f"{place}.W.1", channels)
    return shapes


def resnet50_features(weights: Weights, x: Tensor, *, fastreid: bool, last_stride: int) -> Tensor:
    """Return the (B, 2048, H, W) map in evaluation mode, with IBN-a and non-local blocks if there."""

    def first_norm(name: str, x: Tensor) -> Tensor:
        if f"{name}.IN.weight" not in weights:
            return _bn(weights, name, x)
        half = x.shape[1] // 2
        instance = F.instance_norm(
            x[:, :half], weight=weights[f"{name}.IN.weight"], bias=weights[f"{name}.IN.bias"]
        )
        return torch.cat([instance, _bn(weights, f"{name}.BN", x[:, half:])], dim=1)

    def block(name: str, x: Tensor, stride: int) -> Tensor:
        y = F.relu(first_norm(f"{name}.bn1", F.conv2d(x, weights[f"{name}.conv1.weight"])))
        y = F.conv2d(y, weights[f"{name}.conv2.weight"], stride=stride, padding=1)
        y = F.conv2d(F.relu(_bn(weights, f"{name}.bn2", y)), weights[f"{name}.conv3.weight"])
        if f"{name}.downsample.0.weight" in weights:
            x = F.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=stride)
            x = _bn(weights, f"{name}.downsample.1", x)
        return F.relu(_bn(weights, f"{name}.bn3", y) + x)

    def non_local(name: str, x: Tensor) -> Tensor:
        theta, phi, g = (
            F.conv2d(x, weights[f"{name}.{part}.weight"], weights[f"{name}.{part}.bias"]).flatten(2)
            for part in ("theta", "phi", "g")
        )  # (B, 1, N) each
        attention = theta.transpose(1, 2) @ phi / theta.shape[2]  # (B, N, N)
        y = (attention @ g.transpose(1, 2)).transpose(1, 2).reshape(len(x), -1, *x.shape[2:])
        y = F.conv2d(y, weights[f"{name}.W.0.weight"], weights[f"{name}.W.0.bias"])
        return _bn(weights, f"{name}.W.1", y) + x

    x = F.relu(_bn(weights, "bn1", F.conv2d(x, weights["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True) if fastreid else F.max_pool2d(x, 3, 2, padding=1)
    for stage, blocks in enumerate(_BLOCKS, start=1):
        count = _NON_LOCAL.get(f"NL_{stage}", (0, 0))[1]
        for number in range(blocks):
            stride = 1 if number or stage == 1 else (last_stride if stage == 4 else 2)
            x = block(f"layer{stage}.{number}", x, stride)
            behind = number - (blocks - count)
            if behind >= 0 and f"NL_{stage}.{behind}.g.weight" in weights:
                x = non_local(f"NL_{stage}.{behind}", x)
    return x


def fastreid_heads(weights: Weights, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return FastReID's (B, D) features before and after its neck, in evaluation mode."""
    p = weights.get("heads.pool_layer.p")
    pooled = features.mean(dim=(2, 3), keepdim=True)
    if p is not None:
        pooled = features.clamp(min=1e-6).pow(p).mean(dim=(2, 3), keepdim=True).pow(1 / p)
    neck = "heads.bottleneck.0"
    if weights[f"{neck}.weight"].ndim == 4:
        pooled = F.conv2d(pooled, weights[f"{neck}.weight"])
        neck = "heads.bottleneck.1"
    return pooled.flatten(1), _bn(weights, neck, pooled).flatten(1)
