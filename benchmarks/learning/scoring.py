"""How good a trained network is on people that it has never seen: one measure for all arms."""

import numpy as np
import torch
from torch import nn

from models.datasets import ImageSet, load_pixels
from models.distances import l2_normalize
from models.engines import TorchEngine
from models.evaluation import mean_cosines
from models.manifest import InputSpec
from models.metrics import retrieval_of

__all__ = ["score"]

_BATCH = 64


def score(network: nn.Module, spec: InputSpec, images: ImageSet, *, threads: int) -> dict[str, float]:
    """Return rank-1 and mAP of every picture against all others, junk removed, and mean cosines.

    Args:
        network: in evaluation mode.
        spec: how pictures become its input.
        images: of two cameras or more.
        threads: that decode.

    Returns:
        `rank_1` and `map` (hits), and `cosine_same` and `cosine_different`: both near 1 is a collapse.
    """
    pixels = load_pixels(images, spec, threads=threads)
    engine = TorchEngine(network, spec, "cpu")
    raw = np.concatenate([engine.run(pixels[at : at + _BATCH]) for at in range(0, len(pixels), _BATCH)])
    units = l2_normalize(torch.from_numpy(raw)).numpy()
    labels, cameras = images.labels(), images.camera_labels()
    assert cameras is not None
    found = retrieval_of(units, units, (labels, labels), (cameras, cameras))
    same, different = mean_cosines(units, labels)
    assert same is not None
    assert different is not None
    return {
        "rank_1": found.rank[1],
        "map": found.mean_average_precision,
        "cosine_same": same,
        "cosine_different": different,
    }
