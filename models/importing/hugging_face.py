"""A model folder of Hugging Face made into a bundle: configuration, weights, preprocessing.

Needs the extra `transformers`. Nothing is fetched, and no code that a folder brings or names is run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.checkpoints import read_state_dict
from models.errors import BundleError, OptionError
from models.importing.options import ImportOptions, ImportReport, Take
from models.importing.preparation import Preparation, described, reference_inputs
from models.importing.preprocessor import read_json, read_preprocessor
from models.importing.presets import stated
from models.importing.statements import spec_of
from models.manifest import Architecture
from models.networks import build_network
from models.networks.transformers_vision import FAMILIES, TransformersVision, plain_config
from models.runtime import save_encoder

__all__ = ["import_folder"]

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PROJECTION = "visual_projection.weight"
# Of pictures and texts: the part for pictures is a configuration of its own inside.
_PAIRED = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}
_LABELS = ("architectures", "id2label", "label2id", "transformers_version")  # nothing is computed by them
_SHOWN = 4


class _Fitted(NamedTuple):
    """A network with its weights, its parameters, and sentences on what was taken."""

    network: TransformersVision
    params: dict[str, int | float | str | bool]
    notes: list[str]


def import_folder(folder: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Write a bundle from a local folder of a vision model, as the library `transformers` saves one.

    Raises:
        BundleError: no such folder, weights that could run code or do not fit, or the bundle cannot be
            written.
        OptionError: the extra is not installed, the model is of no family that can be hosted, or options
            are missing or do not go with it.
    """
    if options.output is not None:
        raise OptionError("--output is for ONNX graphs. A model folder has --take.")
    config = _read_config(folder)
    tensors = _read_weights(folder)
    fitted = _fit(config, tensors, options.take, folder)
    file = read_preprocessor(folder)
    grey = fitted.params["channels"] == 1
    usual = Preparation(channels="grey" if grey else "rgb", normalize=True)
    prepared = stated(options, file.preparation.completed(usual))
    prepared.check(
        f"The folder {folder}" + ("" if file.found else ", which has no preprocessor_config.json,")
    )
    input_spec = prepared.input_spec()
    family = config["model_type"]
    spec = spec_of(
        options,
        prepared,
        input_spec,
        Architecture(name="transformers", params=fitted.params),
        dimension=fitted.network.dimension,
        source=f"a Hugging Face model of the family {family}",
    )
    encoder = save_encoder(out, spec, fitted.network.state_dict(), reference_inputs(input_spec))
    notes = [*fitted.notes, described(input_spec), *file.notes]
    notes.append(f"Embeddings have {spec.dimension} dimensions.")
    return ImportReport(encoder, notes)


def _read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of the part for pictures."""
    config = read_json(folder / "config.json")
    if config is None:
        raise BundleError(
            f"{folder} has no config.json, so it is no model folder of Hugging Face. "
            "Download all files of a model into one folder, and name that."
        )
    family = config.get("model_type")
    if family in _PAIRED and isinstance(config.get("vision_config"), dict):
        family = _PAIRED[family]
        config = config["vision_config"] | {"model_type": family}
    if family not in FAMILIES:
        raise OptionError(
            f"{folder} is a model of the family {family!r}. Vision models of these can be hosted: "
            f"{', '.join((*_PAIRED, *FAMILIES))}. Export another one as ONNX, and import that."
        )
    return {name: value for name, value in config.items() if name not in _LABELS}


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder's safetensors files, by name."""
    if (folder / _WEIGHTS).is_file():
        return read_state_dict(folder / _WEIGHTS)
    index = read_json(folder / _INDEX)
    if index is None:
        raise BundleError(_no_weights(folder))
    shards = index.get("weight_map")
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise BundleError(f"{folder / _INDEX} must name .safetensors files beside it, in weight_map.")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_state_dict(folder / name)
    return tensors


def _no_weights(folder: Path) -> str:
    """Return the sentence about a folder without safetensors."""
    pickles = sorted(
        path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt")
    )
    if not pickles:
        return f"{folder} has no {_WEIGHTS}: download it beside the config.json."
    return (
        f"{folder} has its weights in {pickles[0]}, a pickle, which could run code when read; only "
        f"{_WEIGHTS} is loaded of a folder. Where you trust it, write that with transformers: "
        "AutoModel.from_pretrained(folder).save_pretrained(new_folder)."
    )


def _fit(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], take: Take | None, folder: Path
) -> _Fitted:
    """Build the network that a folder describes, and fill it with the folder's weights."""
    projection = tensors.get(_PROJECTION)
    wanted = take or ("pooled" if projection is None else "projected")
    if wanted in ("after-neck", "before-neck"):
        raise OptionError(
            f"--take {wanted} is for FastReID's. A model folder has pooled, cls, mean, projected."
        )
    if wanted == "projected" and projection is None:
        raise OptionError(f"--take projected needs {_PROJECTION}, as CLIP has it, and {folder} has none.")
    params: dict[str, int | float | str | bool] = {
        "config": plain_config(json.dumps(config)),
        "channels": config.get("num_channels", 3),
        "pooling": "pooled" if wanted == "projected" else wanted,
    }
    if wanted == "projected" and projection is not None:
        params |= {"dimension": len(projection), "projected": True}
    network = build_network("transformers", **params)
    assert isinstance(network, TransformersVision)
    loaded = network.load_public({name: value for name, value in tensors.items() if name != _PROJECTION})
    if loaded.missing and take is None and all(name.startswith("pooler.") for name in loaded.missing):
        fitted = _fit(config, tensors, "cls", folder)
        note = "The file has no weights of the pooled output's layer: the class token is taken (--take cls)."
        return fitted._replace(notes=[*fitted.notes, note])
    _check_complete(loaded.missing, loaded.unexpected, network, folder)
    if isinstance(network.embedding, nn.Linear) and projection is not None:
        with torch.no_grad():
            network.embedding.weight.copy_(projection)
    left_out = [name for name in loaded.unexpected if name != _PROJECTION]
    notes = [f"It is of the family {config['model_type']}; the embedding is: {wanted}."]
    if left_out:
        notes.append(
            f"Left out, as no part of the encoder ({len(left_out)}): {', '.join(left_out[:_SHOWN])}"
            + (" ..." if len(left_out) > _SHOWN else ".")
        )
    return _Fitted(network, params, notes)


def _check_complete(
    missing: tuple[str, ...], unexpected: tuple[str, ...], network: TransformersVision, folder: Path
) -> None:
    """Refuse a backbone that would not be the one that was published."""
    if missing:
        reason = f"missing are {', '.join(missing[:_SHOWN])} ({len(missing)} in all)"
        hint = " Add --take cls to do without the pooled output." if "pooler." in missing[0] else ""
        raise BundleError(f"The weights in {folder} do not fill the network: {reason}.{hint}")
    parts = {name for name, _ in network.backbone.named_children()}
    surplus = [
        name
        for name in unexpected
        if not name.startswith("text_model.") and not parts.isdisjoint(name.split(".")[:2])
    ]
    if surplus:
        raise BundleError(
            f"The weights in {folder} are of a larger network than its config.json says: no place is for "
            f"{', '.join(surplus[:_SHOWN])} ({len(surplus)} in all)."
        )
