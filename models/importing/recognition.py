"""Which of our networks a public state dict is of, by its names and shapes."""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from models.errors import BundleError, OptionError
from models.importing.fastreid import is_fastreid, read_fastreid
from models.importing.options import Take
from models.importing.recognised import Recognised, blocks, has_ibn, is_resnet50
from models.manifest import Architecture

__all__ = ["recognise"]

_SUPPORTED = (
    "State dicts of OSNet (torchreid) and of ResNet-50 and ResNet-50-IBN (torchvision, IBN-Net, FastReID) "
    "can be imported; export another network as ONNX, and import that."
)
_WRAPPERS = ("module.", "model.")
_OSNET_WIDTHS = {16: "x0_25", 32: "x0_5", 48: "x0_75", 64: "x1_0"}
_OSNETS_OWN = "conv2.0.conv2a.conv1.weight"


def recognise(tensors: Mapping[str, Tensor], file: str, take: Take | None) -> Recognised:
    """Find out what a state dict is of.

    Args:
        tensors: by the names in the file.
        file: for messages.
        take: after-neck or before-neck, for what has a neck.

    Raises:
        BundleError: it is of none of our networks; the message says what it looks like.
        OptionError: `take` does not go with it.
    """
    bare = _unwrapped(tensors)
    if is_fastreid(bare):
        found = read_fastreid(bare, take)
    else:
        found = _read_osnet(bare) or _read_torchvision(bare)
        if found is not None and take is not None:
            raise OptionError(f"--take {take} does not go with {found.title}: it gives one embedding.")
    if found is None:
        raise BundleError(f"{file} looks like {_looks(bare)}. There is no such network here. {_SUPPORTED}")
    return found


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the prefixes that a trainer put before every name."""
    bare = dict(tensors)
    while wrapper := next((w for w in _WRAPPERS if all(name.startswith(w) for name in bare)), None):
        bare = {name.removeprefix(wrapper): tensor for name, tensor in bare.items()}
    return bare


def _read_osnet(tensors: Mapping[str, Tensor]) -> Recognised | None:
    """Return an OSNet with torchreid's names, or None."""
    stem, linear = tensors.get("conv1.conv.weight"), tensors.get("fc.0.weight")
    width = None if stem is None else _OSNET_WIDTHS.get(len(stem))
    # Others have instance normalisations: their names are not in ours.
    if _OSNETS_OWN not in tensors or stem is None or linear is None or width is None:
        return None
    classifier = tuple(name for name in tensors if name.startswith("classifier."))
    return Recognised(
        title=f"OSNet {width.replace('_', '.')} with torchreid's names",
        architecture=Architecture(
            name=f"osnet_{width}", params={"dimension": len(linear), "channels": stem.shape[1]}
        ),
        tensors=_without(tensors, classifier),
        preset="osnet",
        set_apart=classifier,
    )


def _read_torchvision(tensors: Mapping[str, Tensor]) -> Recognised | None:
    """Return a ResNet-50 with torchvision's names, which IBN-Net's checkpoints have too, or None."""
    if not is_resnet50(tensors):
        return None
    classifier = tuple(
        name for name in tensors if name in ("fc.weight", "fc.bias") or name.startswith("classifier.")
    )
    mean = {"pooling.p": torch.ones(1)}  # over the positions
    return Recognised(
        title=f"ResNet-50{'-IBN' if has_ibn(tensors) else ''} with torchvision's names",
        architecture=Architecture(
            name="resnet50_ibn" if has_ibn(tensors) else "resnet50",
            params={"dimension": 2048, "channels": tensors["conv1.weight"].shape[1], "last_stride": 2},
        ),
        tensors=_without(tensors, classifier) | mean,
        preset="imagenet",
        set_apart=classifier,
    )


def _looks(tensors: Mapping[str, Tensor]) -> str:
    """Say in words what a state dict of no network of ours looks like."""
    resnet = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    stages, stem = blocks(resnet), resnet.get("conv1.weight")
    if stages and stem is not None and stem.ndim == 4:
        kind = "bottlenecks" if "layer1.0.conv3.weight" in resnet else "basic blocks"
        filters, channels, *kernel = stem.shape
        return (
            f"a ResNet of {' + '.join(map(str, stages))} {kind} whose first convolution has {filters} "
            f"filters of {' x '.join(map(str, kernel))} on {channels} channels"
        )
    if "conv2.0.conv1.conv.weight" in tensors and "conv5.conv.weight" in tensors:
        return "an OSNet of another kind or width than x0.25, x0.5, x0.75 and x1.0"
    return f"a network with names like {', '.join(itertools.islice(tensors, 3))}"


def _without(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in names}
