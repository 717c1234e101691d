"""What training begins with, and the course of the learning rate."""

import dataclasses
from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file

from models.errors import BundleError, NonFiniteError, OptionError
from models.networks import build_network
from models.training import TrainConfig, fit
from models.training.gradients import clip
from models.training.parts import begin, learning_rate
from models.training.ranks import ALONE
from tests.models.networks_by_name import TINY_VIT
from tests.models.training.small import options, pictures


def test_the_learning_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    config = options(learning_rate=2.0, warm_up=0.2)
    rates = [learning_rate(config, done / 1000) for done in range(1001)]
    assert rates[0] == pytest.approx(2.0 * 0.1 / 1.1)
    assert max(rates) == pytest.approx(2.0) == pytest.approx(rates[200])
    assert rates[600] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    rising = [after - before for before, after in pairwise(rates[:200])]
    assert max(rising) == pytest.approx(min(rising))
    assert all(after <= before for before, after in pairwise(rates[200:]))


def test_without_a_warm_up_it_begins_at_the_top() -> None:
    assert learning_rate(options(learning_rate=2.0, warm_up=0.0), 0.0) == 2.0


def test_every_parameter_is_trained_once_and_only_kernels_decay() -> None:
    parts = begin(options(weight_decay=0.3), 6, ALONE)
    names = {id(parameter): name for name, parameter in parts.network.named_parameters()}
    assert parts.objective.classifier is not None
    names[id(parts.objective.classifier.weight)] = "classifier"
    found = [names[id(parameter)] for parameter in parts.parameters()]
    assert sorted(found) == sorted(names.values())
    for group in parts.optimizer.param_groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.3}


def test_the_classifier_does_not_change_the_networks_first_weights() -> None:
    with_classifier, without = (begin(options(id_weight=weight), 6, ALONE) for weight in (0.5, 0.0))
    for name, tensor in without.network.state_dict().items():
        assert torch.equal(with_classifier.network.state_dict()[name], tensor), name


def test_pretrained_weights_are_begun_with(
    config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pretrained")
    torch.manual_seed(5)
    weights = build_network("small_resnet", dimension=16).state_dict()
    save_file(weights, folder / "weights.safetensors")
    still = dataclasses.replace(
        config, steps=1, learning_rate=1e-12, pretrained=folder / "weights.safetensors"
    )
    network, _ = fit(still, pictures(config))
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), weights[name], rtol=0, atol=1e-9)
    (folder / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"other\.safetensors"):
        fit(dataclasses.replace(config, pretrained=folder / "other.safetensors"), pictures(config))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_float16_needs_a_gpu() -> None:
    with pytest.raises(OptionError, match="float16 needs a GPU"):
        begin(options(precision="float16"), 6, ALONE)


def test_pictures_that_are_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(OptionError, match="osnet_x0_25 cannot take pictures of 8 x 16"):
        begin(options(network="osnet_x0_25", height=8), 6, ALONE)


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra: transformers")
def test_a_backbone_of_transformers_is_trained_by_its_config() -> None:
    given = options(network="transformers", network_config=TINY_VIT)
    parts = begin(given, 6, ALONE)
    assert parts.embed(torch.zeros(2, 3, 32, 32)).shape == (2, 8)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_ends_training_before_it_is_in_the_weights(value: float) -> None:
    parts = begin(options(), 6, ALONE)
    for parameter in parts.parameters():
        parameter.grad = torch.zeros_like(parameter)
    first = parts.parameters()[0].grad
    assert first is not None
    assert float(clip(parts, 5.0)) == 0
    first[(0,) * first.ndim] = value
    with pytest.raises(NonFiniteError, match="training diverged"):
        clip(parts, 5.0)


def test_a_gradient_is_cut_to_the_norm_and_its_own_is_returned() -> None:
    parts = begin(options(), 6, ALONE)
    for parameter in parts.parameters():
        parameter.grad = torch.ones_like(parameter)
    count = sum(parameter.numel() for parameter in parts.parameters())
    assert float(clip(parts, 5.0)) == pytest.approx(count**0.5)
    cut = sum(float(p.grad.square().sum()) for p in parts.parameters() if p.grad is not None)
    assert cut**0.5 == pytest.approx(5.0, rel=1e-4)
