"""The encoders that are served: as an ONNX graph and as PyTorch weights for the peers, as bundles for us."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.serving.networks import build, settle
from benchmarks.serving.peers.engine import Rows, open_encode, open_preparation
from models.images import decode
from models.manifest import Architecture, EncoderSpec, InputSpec, OnnxGraph
from models.runtime import save_encoder

__all__ = ["ENCODERS", "Served", "expected_embeddings", "make_encoder"]

# ImageNet's, for pixels from 0 to 255.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
_SETTLED_BY = 32
_DIMENSION = 512
_REFERENCES = 4
_INPUT, _OUTPUT = "pictures", "embeddings"


@dataclass(frozen=True, slots=True)
class Served:
    """An encoder of the comparison.

    Attributes:
        name: of its network in `benchmarks.serving.networks`.
        title: in the document.
        height, width: of its input.
        architecture: its name in `models.networks`; None where it is none of ours and served as ONNX only.
    """

    name: str
    title: str
    height: int
    width: int
    architecture: str | None = None


ENCODERS = (
    Served("resnet18", "ResNet-18 at 112 x 112", 112, 112),
    Served("osnet", "OSNet x0.25 at 256 x 128", 256, 128, "osnet_x0_25"),
)


def make_encoder(served: Served, folder: Path, pictures: Sequence[Path]) -> None:
    """Write recipe.json, model.onnx, weights.pt and the bundles of an encoder, where they are not there yet.

    Args:
        served: which.
        folder: of this encoder.
        pictures: JPEGs; the first ones set its batch normalisation.
    """
    if (folder / "made").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"network": served.name, "height": served.height, "width": served.width}
    (folder / "recipe.json").write_text(json.dumps({**recipe, "mean": _MEAN, "std": _STD}), encoding="utf-8")
    preparation = open_preparation(folder)
    files = [path.read_bytes() for path in pictures[:_SETTLED_BY]]
    inputs = torch.from_numpy(np.stack([preparation.decode(data) for data in files]))
    network = settle(build(served.name), inputs)
    torch.save(network.state_dict(), folder / "weights.pt")
    _export(network, inputs[:2], folder / "model.onnx")
    spec = EncoderSpec(
        name=served.name,
        onnx=OnnxGraph(input=_INPUT, output=_OUTPUT),
        input=InputSpec(height=served.height, width=served.width, mean=_MEAN, std=_STD),
        dimension=_DIMENSION,
        normalize=True,
        metric="cosine",
    )
    pixels = np.stack([decode(data, (served.height, served.width)) for data in files[:_REFERENCES]])
    save_encoder(folder / "onnx-bundle", spec, (folder / "model.onnx").read_bytes(), pixels)
    if served.architecture is not None:
        architecture = Architecture(name=served.architecture, params={"dimension": _DIMENSION})
        spec = spec.model_copy(update={"onnx": None, "architecture": architecture})
        save_encoder(folder / "pytorch-bundle", spec, network.state_dict(), pixels)
    (folder / "made").touch()


def expected_embeddings(folder: Path, pictures: Sequence[Path], threads: int) -> Rows:
    """Return (N, D) embeddings by eager PyTorch: what every server must answer."""
    preparation, encode = open_preparation(folder), open_encode(folder, "pytorch", threads)
    return np.concatenate([encode(preparation.decode(path.read_bytes())[None]) for path in pictures])


def _export(network: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write a network's graph, its first axis open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about torch's own calls
        torch.onnx.export(
            network,
            (example,),
            path,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            external_data=False,
            verbose=False,
        )
