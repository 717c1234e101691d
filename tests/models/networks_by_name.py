"""Every network with what its constructor needs, for tests that hold for all of them."""

import json
from importlib.util import find_spec

import pytest
from torch import nn

from models.networks import NETWORKS, build_network

__all__ = ["EVERY_NETWORK", "TINY_VIT", "new_network"]

TINY_VIT = json.dumps(
    {
        "model_type": "vit",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 48,
        "patch_size": 8,
    }
)

_ABSENT = pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra: transformers")

EVERY_NETWORK = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=_ABSENT if name == "transformers" else ()) for name in sorted(NETWORKS)],
)


def new_network(name: str, *, neck: bool = False, **params: object) -> nn.Module:
    needed = {"config": TINY_VIT} if name == "transformers" else {}
    return build_network(name, neck=neck, **needed, **params)
