"""Vision backbones of transformers: pooled outputs as the library gives them, sizes, and refusals."""

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from models.errors import OptionError
from models.networks import build_network
from models.networks.transformers_vision import FAMILIES
from tests.models.networks_by_name import TINY_VIT

pytestmark = pytest.mark.usefixtures("one_thread")
needs_library = pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra: transformers")

_LAYERS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
    "num_register_tokens": 1,
}
_STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
_WINDOWS = {"depths": [1, 1], "num_heads": [2, 2], "embed_dim": 8, "patch_size": 4, "window_size": 4}
_OTHERS: dict[str, dict[str, Any]] = {
    "convnext": _STAGES,
    "convnextv2": _STAGES,
    "swin": _WINDOWS | {"image_size": 32},
}


def tiny(family: str, **given: Any) -> str:
    return json.dumps(_OTHERS.get(family, _LAYERS) | {"model_type": family} | given)


@needs_library
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(32, 32), (48, 40)])
def test_every_family_gives_embeddings_at_its_size_and_others(family: str, size: tuple[int, int]) -> None:
    network = build_network("transformers", config=tiny(family), channels=1).eval()
    reduced = build_network("transformers", config=tiny(family), channels=1, dimension=5).eval()
    with torch.inference_mode():
        x = torch.randn(2, 1, *size)
        assert network.dimension == 16
        assert (tuple(network(x).shape), tuple(reduced(x).shape)) == ((2, 16), (2, 5))


@needs_library
@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_of_every_family_learns(family: str) -> None:
    torch.manual_seed(0)
    network = build_network("transformers", config=tiny(family), dimension=5)
    output = network(torch.randn(4, 3, 32, 32))
    (output * torch.randn_like(output)).sum().backward()
    idle = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not bool(parameter.grad.abs().sum() > 0))
    ]
    assert idle == []


def test_the_embedding_of_a_vit_is_its_pooled_class_token() -> None:
    library = pytest.importorskip("transformers", reason="needs the extra: transformers")
    torch.manual_seed(0)
    network = build_network("transformers", config=TINY_VIT).eval()
    values = json.loads(TINY_VIT)
    model = library.ViTModel(library.ViTConfig(**values)).eval()
    weights = {name.removeprefix("backbone."): tensor for name, tensor in network.state_dict().items()}
    model.load_state_dict(weights)
    x = torch.randn(3, 3, 48, 48)
    with torch.inference_mode():
        expected = torch.tanh(model.pooler.dense(model(pixel_values=x).last_hidden_state[:, 0]))
        torch.testing.assert_close(network(x), expected)


@needs_library
def test_what_a_config_says_about_code_and_number_formats_is_left_out() -> None:
    config = tiny(
        "vit",
        auto_map={"AutoModel": "someone/else--modeling.Model"},
        _attn_implementation="someone/kernels",
        dtype="float16",
    )
    network = build_network("transformers", config=config)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert type(network.backbone).__module__ == "transformers.models.vit.modeling_vit"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "must be the JSON of a vision configuration"),
        (7, "must be the JSON of a vision configuration"),
        ("[]", "must have a model_type of clip_vision_model, convnext, .*; it has None"),
        ('{"model_type": "bert"}', "must have a model_type of .*; it has 'bert'"),
        ('{"model_type": ["vit"]}', "must have a model_type of .*; it has"),
        ('{"model_type": "timm_wrapper"}', "must have a model_type of .*; it has 'timm_wrapper'"),
    ],
)
def test_configs_that_are_none_are_refused(config: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build_network("transformers", config=config)


@needs_library
@pytest.mark.parametrize("given", [{"hidden_act": "none"}, {"hidden_size": "wide"}, {"patch_size": None}])
def test_configs_that_cannot_be_built_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="transformers cannot build a vit of this config"):
        build_network("transformers", config=tiny("vit", **given))


def test_without_the_library_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # importing it then fails as if it were absent
    with pytest.raises(OptionError, match=r"pip install '\.\[transformers\]'"):
        build_network("transformers", config=TINY_VIT)


def test_other_networks_do_not_import_it() -> None:
    script = (
        "import sys; from models.networks import build_network; build_network('osnet_x0_25');"
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
