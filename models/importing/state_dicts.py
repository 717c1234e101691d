"""A public PyTorch state dict made into a bundle: recognised by names and shapes, loaded whole or refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from models.checkpoints import CheckpointReport, fill_network, read_state_dict
from models.errors import BundleError, OptionError
from models.importing.options import ImportOptions, ImportReport
from models.importing.preparation import described, reference_inputs
from models.importing.presets import stated
from models.importing.recognised import Recognised
from models.importing.recognition import recognise
from models.importing.statements import spec_of
from models.networks import build_network
from models.runtime import save_encoder

__all__ = ["import_state_dict"]

_COUNTER = "num_batches_tracked"
_SHOWN = 6


def import_state_dict(path: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Write a bundle from a state dict of one of our networks, as other projects publish them.

    Nothing in the file is executed: one that holds more than tensors and plain values is refused.

    Raises:
        BundleError: the file cannot be read, would need code to run, is of no network of ours, lacks a
            tensor or has one that the network has no place for; or the bundle cannot be written.
        OptionError: the options do not go with it.
    """
    if options.output is not None:
        raise OptionError(f"--output is for ONNX graphs, and {path} is a state dict.")
    found = recognise(read_state_dict(path), str(path), options.take)
    network = build_network(found.architecture.name, **found.architecture.params)
    loaded = fill_network(network, found.tensors, path)
    _check_complete(loaded, found, path)
    prepared = stated(options, found.stated, found.preset)
    prepared.check(f"The state dict {path}")
    input_spec = prepared.input_spec()
    spec = spec_of(
        options,
        prepared,
        input_spec,
        found.architecture,
        dimension=cast("int", network.dimension),  # torch types attributes as tensors or modules
        source=f"a state dict: {found.title}",
    )
    encoder = save_encoder(out, spec, network.state_dict(), reference_inputs(input_spec))
    notes = [f"It is {found.title}: {len(loaded.matched)} tensors fit."]
    if found.set_apart:
        notes.append(f"Left out, as no part of the encoder: {_listed(found.set_apart)}.")
    notes += found.notes
    preset = options.preset or found.preset
    notes += [described(input_spec) + f" (Preset {preset}, where neither file nor options say more.)"]
    notes.append(f"Embeddings have {spec.dimension} dimensions.")
    return ImportReport(encoder, notes)


def _check_complete(loaded: CheckpointReport, found: Recognised, path: Path) -> None:
    """Refuse a network that would not be the one that was published."""
    faults = list(_faults(loaded))
    if faults:
        raise BundleError(
            f"{path} is {found.title}, but not all of it fits, so its embeddings would be others: "
            f"{'; '.join(faults)}."
        )


def _faults(loaded: CheckpointReport) -> Iterator[str]:
    """Yield what does not fit."""
    unexpected = tuple(name for name in loaded.unexpected if not name.endswith(_COUNTER))
    if loaded.missing:
        yield f"missing are {_listed(loaded.missing)}"
    if loaded.mismatched:
        name, expected, got = loaded.mismatched[0]
        yield f"{name} has the shape {got} and {expected} is needed ({len(loaded.mismatched)} such)"
    if unexpected:
        yield f"no place is for {_listed(unexpected)}"


def _listed(names: tuple[str, ...]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
