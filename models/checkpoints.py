"""Public state dicts into our networks: what fits by name and shape is loaded, and all of it is reported.

Published weights come as safetensors, or as pickles of tensors; from trainers that wrap a network (module.,
backbone., model.) or the dictionary (state_dict, model); with classifiers of their own, without our neck.
"""

import itertools
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import BundleError

__all__ = ["CheckpointReport", "Mismatch", "fill_network", "load_checkpoint", "read_state_dict"]

_WRAPPERS = ("state_dict", "model")
_PREFIXES = ("module.", "backbone.", "model.")
_COUNTER = "num_batches_tracked"
_SHOWN = 8
_NO_CHECKPOINT = (
    "is no checkpoint, or a damaged one. Give a file that torch.save or safetensors wrote, and download it "
    "again where it should be one."
)


class Mismatch(NamedTuple):
    """A tensor of the right name and a wrong shape; `name` is the network's."""

    name: str
    expected: tuple[int, ...]
    got: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """What a checkpoint did to a network.

    Attributes:
        matched: names in the network that were loaded.
        missing: names in the network that the file has nothing for; they keep their values. Batch
            normalisation's counters are left out: no result depends on them.
        unexpected: names in the file that the network has no place for, classifiers most often.
        mismatched: names with two different shapes; the network keeps its values.
        parameters: numbers in the network's parameters.
        loaded: those of them that came from the file.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    parameters: int
    loaded: int

    @property
    def share(self) -> float:
        """Return the share of the network's parameters that came from the file, from 0 to 1."""
        return self.loaded / self.parameters

    def __str__(self) -> str:
        shapes = (f"{name} (network {expected}, file {got})" for name, expected, got in self.mismatched)
        lines = [
            f"{self.share:.1%} of the network's parameters are from the checkpoint "
            f"({self.loaded:,} of {self.parameters:,}; {len(self.matched)} tensors).",
            *_line("Not in the checkpoint, left as they were", self.missing),
            *_line("Of another shape, left as they were", tuple(shapes)),
            *_line("In the checkpoint alone", self.unexpected),
        ]
        return "\n".join(lines)


def load_checkpoint(network: nn.Module, path: Path) -> CheckpointReport:
    """Load what fits of a public checkpoint, by name and shape.

    Names are compared as they are, then without module., backbone. and model. in front, so a file of the
    bare network fits one with a neck and the reverse. Nothing is executed: a pickle that holds more than
    tensors and plain values is refused.

    Args:
        network: is changed in place, or not at all where this raises; dtypes and device stay the network's.
        path: a .safetensors file, or what torch.save wrote (.pth, .pt, .th, .bin): a state dict, bare or
            under "state_dict" or "model".

    Raises:
        BundleError: the file cannot be read, is no checkpoint, would need code to run, holds NaN or infinity
            where it fits, or nothing in it fits.
    """
    return fill_network(network, read_state_dict(path), path)


def fill_network(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> CheckpointReport:
    """Load what fits of a checkpoint's tensors, as `load_checkpoint` does.

    Args:
        network: is changed in place, or not at all where this raises.
        tensors: by name.
        path: where they come from, for messages.

    Raises:
        BundleError: NaN or infinity where it fits, or nothing fits.
    """
    places = network.state_dict()  # shares memory with the network
    chosen, unexpected = _assign(places, tensors)
    fitting = {name: tensor for name, tensor in chosen.items() if tensor.shape == places[name].shape}
    if not any(places[name].is_floating_point() for name in fitting):
        raise BundleError(
            f"Nothing in {path} fits this network. The file has names like {_examples(tensors)}; "
            f"the network has {_examples(places)}. Is it a checkpoint of another architecture?"
        )
    for name, tensor in fitting.items():
        if not bool(torch.isfinite(tensor.to(places[name].dtype)).all()):
            raise BundleError(f"{name} in {path} holds NaN or infinity: the checkpoint is damaged.")
    with torch.no_grad():
        for name, tensor in fitting.items():
            places[name].copy_(tensor)
    parameters = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return CheckpointReport(
        matched=tuple(name for name in places if name in fitting),
        missing=tuple(name for name in places if name not in chosen and not name.endswith(_COUNTER)),
        unexpected=tuple(unexpected),
        mismatched=tuple(
            Mismatch(name, tuple(places[name].shape), tuple(tensor.shape))
            for name, tensor in chosen.items()
            if name not in fitting
        ),
        parameters=sum(parameters.values()),
        loaded=sum(numel for name, numel in parameters.items() if name in fitting),
    )


def _assign(
    places: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return for each place its tensor, and the names in the file that have none."""
    bare = {_bare(name): name for name in places}
    chosen: dict[str, Tensor] = {}
    unexpected = []
    # Equal names first: a file may hold a network twice, with a prefix and without.
    for name in sorted(tensors, key=lambda name: name not in places):
        place = name if name in places else bare.get(_bare(name))
        tensor = tensors[name]
        if place is None or place in chosen or not _same_kind(tensor, places[place]):
            unexpected.append(name)
        else:
            chosen[place] = tensor
    return chosen, unexpected


def _same_kind(tensor: Tensor, place: Tensor) -> bool:
    """Say whether both hold floating point or both whole numbers, neither quantised nor sparse."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_complex()
    return plain and tensor.is_floating_point() == place.is_floating_point()


def _bare(name: str) -> str:
    """Return a name without the prefixes of whatever a network was wrapped in."""
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, by name; nothing in it is executed.

    Args:
        path: as `load_checkpoint` takes it.

    Raises:
        BundleError: the file cannot be read, is no checkpoint, or would need code to run.
    """
    try:
        path.open("rb").close()  # what fails later is damaged, not absent
    except OSError as error:
        raise BundleError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _unpickle(path)
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise BundleError(
            f"{path} holds no state dict: no tensors by name, bare or under state_dict or model."
        )
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(
            f"{path} is not a safetensors file, or a damaged one. Download or save it again."
        ) from error


def _unpickle(path: Path) -> Any:
    """Read what torch.save wrote: tensors and plain values, never code."""
    try:
        # A file in torch's zip form is mapped: what does not fit the network never enters memory.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):  # an instruction that torch.save never writes
            raise BundleError(f"{path} {_NO_CHECKPOINT}") from error
        raise BundleError(
            f"{path} holds more than tensors and could run code when read, so it is refused. Where you trust "
            "it, save its weights alone: torch.save(model.state_dict(), path)."
        ) from error
    except Exception as error:  # a damaged pickle fails in as many ways as pickle has instructions
        if "TorchScript" in str(error):
            raise BundleError(
                f"{path} is a TorchScript archive, which holds code, so it is refused. Save its weights "
                "alone, torch.save(model.state_dict(), path), or export it as ONNX."
            ) from error
        raise BundleError(f"{path} {_NO_CHECKPOINT}") from error


def _examples(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(itertools.islice(tensors, 3))


def _line(title: str, names: tuple[str, ...]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"{title} ({len(names)}): {', '.join(names[:_SHOWN])}{more}."
