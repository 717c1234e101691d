"""FastReID's state dicts: a ResNet-50, its pooling, perhaps a reduction, and a neck.

Source: JDAI-CV/fast-reid: modeling/backbones/resnet.py, modeling/heads/embedding_head.py, layers/pooling.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.errors import BundleError, OptionError
from models.importing.options import Take
from models.importing.preparation import Preparation
from models.importing.recognised import Recognised, has_ibn, is_resnet50
from models.manifest import Architecture

__all__ = ["is_fastreid", "read_fastreid"]

_REDUCTION = "heads.bottleneck.0"
_NECKS = (_REDUCTION, "heads.bottleneck.1", "heads.bnneck")
_PIXELS = ("pixel_mean", "pixel_std")
_CLASSIFIERS = ("heads.weight", "heads.classifier.", "heads.cls_layer.")
_MEAN_NOTE = "The file has no exponent of its pooling: the mean is taken, as in FastReID's bag of tricks."


def is_fastreid(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether the names are FastReID's, of any of its ResNets."""
    return "backbone.layer1.0.conv1.weight" in tensors


def read_fastreid(tensors: Mapping[str, Tensor], take: Take | None) -> Recognised | None:
    """Return a ResNet-50 of FastReID, or None if it is another of its networks.

    Raises:
        OptionError: `take` is neither after-neck, which None means, nor before-neck.
        BundleError: there is no neck, and its output was not declined.
    """
    backbone = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    if not is_resnet50(backbone):
        return None
    if take not in (None, "after-neck", "before-neck"):
        raise OptionError(f"--take {take} does not go with FastReID's: they have after-neck and before-neck.")
    reduces = tensors.get(f"{_REDUCTION}.weight", torch.empty(0)).ndim == 4  # a convolution, not the neck
    apart = tuple(name for name in tensors if name.startswith(_CLASSIFIERS))
    ours = {
        _place(name, reduces=reduces): tensor
        for name, tensor in tensors.items()
        if name not in apart and name not in _PIXELS
    }
    if reduces:
        ours["backbone.embedding.weight"] = ours["backbone.embedding.weight"].flatten(1)
        ours["backbone.embedding.bias"] = torch.zeros(len(ours["backbone.embedding.weight"]))
    notes = () if "backbone.pooling.p" in ours else (_MEAN_NOTE,)
    ours.setdefault("backbone.pooling.p", torch.ones(1))
    neck = take != "before-neck"
    if neck and "neck.weight" not in ours:
        raise BundleError(
            "The file has FastReID's backbone and no neck behind it (heads.bottleneck). Where it was trained "
            "without one, add --take before-neck."
        )
    if not neck:
        apart += tuple(name for name in tensors if _place(name, reduces=reduces).startswith("neck."))
        ours = {
            name.removeprefix("backbone."): tensor
            for name, tensor in ours.items()
            if not name.startswith("neck.")
        }
    non_local = backbone.get("NL_2.0.g.weight", torch.empty(0))
    return Recognised(
        title="FastReID's ResNet-50"
        + ("-IBN" if has_ibn(backbone) else "")
        + (" with non-local blocks" if len(non_local) else "")
        + (", after its neck" if neck else ", before its neck"),
        architecture=Architecture(
            name="resnet50_ibn" if has_ibn(backbone) else "resnet50",
            params={
                "dimension": len(tensors[f"{_REDUCTION}.weight"]) if reduces else 2048,
                "channels": backbone["conv1.weight"].shape[1],
                "last_stride": 1,
                "padded": False,
                "non_local": len(non_local),
                "neck": neck,
            },
        ),
        tensors=ours,
        preset="fastreid",
        stated=Preparation(mean=_numbers(tensors, "pixel_mean"), std=_numbers(tensors, "pixel_std")),
        set_apart=apart,
        notes=notes,
    )


def _place(name: str, *, reduces: bool) -> str:
    """Return our name of a tensor in a network with a neck; a name of no place as it is."""
    layer, _, last = name.rpartition(".")
    if layer == "heads.pool_layer":
        return f"backbone.pooling.{last}"
    if layer == _REDUCTION and reduces:
        return f"backbone.embedding.{last}"
    return f"neck.{last}" if layer in _NECKS else name


def _numbers(tensors: Mapping[str, Tensor], name: str) -> tuple[float, ...] | None:
    """Return what the file keeps of its pixels' normalisation, if it does."""
    if name not in tensors:
        return None
    return tuple(round(value, 4) for value in tensors[name].flatten().tolist())  # float32 of 123.675
