"""Small trainings to test with: drawn vehicles, and embeddings of a network that repeats itself."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.datasets import load_pixels, read_csv
from models.training import TrainConfig
from models.training.batches import Batch, TrainingData
from models.training.parts import Parts, begin
from models.training.ranks import ALONE, Ranks

CLASSES = 6

EXACT = 1e-9  # relative, in float64: a thousandth of the 1e-6 that is promised

# What is minimised, by a name.
LOSSES: dict[str, dict[str, object]] = {
    "triplet": {"id_weight": 0.0, "neck": False},
    "triplet and neck": {"id_weight": 0.0, "neck": True},
    "both": {"id_weight": 0.5, "neck": True},
    "both without neck": {"id_weight": 0.5, "neck": False},
    "identity": {"id_weight": 1.0, "neck": True, "triplet_weight": 0.0},
}


def pictures(config: TrainConfig) -> TrainingData:
    """Return the pixels and labels of a configuration's training split."""
    images = read_csv(config.data, config.train_split)
    return TrainingData(load_pixels(images, config.input()), images.labels())


def options(**changed: object) -> TrainConfig:
    """Return a configuration of a small network with both losses, 4 identities with 3 pictures each."""
    usual: dict[str, object] = {
        "network": "small_resnet",
        "dimension": 8,
        "height": 16,
        "width": 16,
        "identities": 4,
        "images": 3,
        "id_weight": 0.5,
        "neck": True,
        "device": "cpu",
    }
    return TrainConfig(data=Path("data"), out=Path("out"), **(usual | changed))  # type: ignore[arg-type]


def exact_parts(config: TrainConfig, ranks: Ranks = ALONE) -> Parts:
    """Return parts in float64 whose backbone has its batch normalisation frozen; the neck's is not."""
    with torch.random.fork_rng(devices=[]):
        parts = begin(config, CLASSES, ranks)
    parts.network.double()
    parts.objective.double()
    freeze(parts.network, keep=parts.objective.neck)
    return parts


def freeze(network: nn.Module, keep: nn.Module) -> None:
    """Let batch normalisation use its running statistics, in all but one module."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module is not keep:
            module.eval()


def batch(config: TrainConfig, ranks: Ranks = ALONE) -> Batch:
    """Return random pictures, of which a rank gets its share, and all labels."""
    generator = torch.Generator().manual_seed(7)
    count = config.identities * config.images
    x = torch.randn(count, 3, config.height, config.width, generator=generator, dtype=torch.float64)
    labels = torch.arange(count) // config.images
    return Batch(x[ranks.share(count)], labels)


def gradients(parts: Parts) -> dict[str, torch.Tensor]:
    """Return the gradient of everything that has one, by name."""
    modules = nn.ModuleDict({"network": parts.network, "objective": parts.objective})
    return {
        name: parameter.grad.clone()
        for name, parameter in modules.named_parameters()
        if parameter.grad is not None
    }


def assert_same_gradients(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Compare what belongs to each name, within `EXACT` of its own norm.

    A gradient that is nothing but rounding (a bias before a batch normalisation has none) is compared with
    a ten-thousandth of the norm of all.
    """
    assert found.keys() == expected.keys()
    whole = torch.linalg.vector_norm(torch.cat([value.flatten() for value in expected.values()]))
    for name, value in expected.items():
        error = torch.linalg.vector_norm(found[name] - value)
        assert error <= EXACT * max(torch.linalg.vector_norm(value), 1e-4 * whole), name
