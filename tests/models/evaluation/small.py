"""Small sets whose embeddings are drawn: nothing is decoded or encoded unless a test asks for it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from models.datasets import ImageSet, Role, Sample
from models.evaluation import Subject
from models.manifest import Architecture, EncoderSpec, InputSpec
from models.networks import build_network
from models.runtime import Encoder, save_encoder

__all__ = ["random_encoder", "set_of", "subject_of"]


def set_of(
    identities: Sequence[str],
    cameras: Sequence[str] | None = None,
    roles: Sequence[Role] | None = None,
    form: str = "csv",
) -> ImageSet:
    """Return a set of pictures that are nowhere."""
    count = len(identities)
    nothing: list[Role] = [""] * count
    samples = tuple(
        Sample(Path(f"{number:03d}.jpg"), identity, camera, "val", role)
        for number, (identity, camera, role) in enumerate(
            zip(identities, cameras or [""] * count, roles or nothing, strict=True)
        )
    )
    return ImageSet("fake", "val", samples, form)


def subject_of(images: ImageSet, *, noise: float = 0.6, seed: int = 0, metric: str = "euclidean") -> Subject:
    """Return a set with embeddings around one centre for each identity."""
    random = np.random.default_rng(seed)
    names = sorted({sample.identity for sample in images.samples})
    centres = dict(zip(names, random.normal(size=(len(names), 8)), strict=True))
    rows = [centres[sample.identity] + noise * random.normal(size=8) for sample in images.samples]
    return Subject(images, np.array(rows, dtype=np.float32), metric)


def random_encoder(folder: Path, side: int = 32) -> Encoder:
    """Write a bundle of random weights, and return it loaded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network("small_resnet", dimension=16)
    spec = EncoderSpec(
        name="untrained",
        architecture=Architecture(name="small_resnet", params={"dimension": 16}),
        input=InputSpec(height=side, width=side, mean=(127.5,) * 3, std=(64,) * 3),
        dimension=16,
        normalize=True,
        metric="euclidean",
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    return save_encoder(folder, spec, dict(network.state_dict()), pixels)
