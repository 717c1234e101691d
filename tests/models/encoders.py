"""Two small encoders of 8 x 10 pictures, one for each engine."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.images import Pixels
from models.manifest import Architecture, EncoderSpec, InputSpec, OnnxGraph
from models.networks import build_network
from models.runtime import Encoder, save_encoder
from tests.models.onnx_graphs import encoder_graph

__all__ = ["ENGINES", "MEAN", "PICTURES", "STD", "network", "onnx_spec", "save", "torch_spec"]

ENGINES = ("pytorch", "onnxruntime")
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
PICTURES: Pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 10, 3)).astype(np.uint8)


def onnx_spec(
    *, normalize: bool = True, batch: int | None = None, dimension: int = 5, **given: Any
) -> EncoderSpec:
    return EncoderSpec(
        name="graph",
        onnx=OnnxGraph(input="pictures", output="embedding", layout=given.pop("layout", "nchw"), batch=batch),
        input=InputSpec(**{"height": 8, "width": 10, "mean": MEAN, "std": STD} | given),
        dimension=dimension,
        normalize=normalize,
        metric="cosine",
    )


def torch_spec(*, normalize: bool = True, **given: Any) -> EncoderSpec:
    return EncoderSpec(
        name="network",
        architecture=Architecture(name="small_resnet", params={"dimension": 5}),
        input=InputSpec(**{"height": 8, "width": 10, "mean": MEAN, "std": STD} | given),
        dimension=5,
        normalize=normalize,
        metric="cosine",
    )


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network("small_resnet", dimension=5).eval()


def save(folder: Path, engine: str, **given: Any) -> Encoder:
    if engine == "pytorch":
        return save_encoder(folder, torch_spec(**given), network().state_dict(), PICTURES[:4])
    raw = encoder_graph().SerializeToString()
    return save_encoder(folder, onnx_spec(**given), raw, PICTURES[:4])
