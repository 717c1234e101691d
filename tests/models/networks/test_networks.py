"""Networks by name: shapes, gradients, seeds, and independence of the batch."""

from typing import Any

import pytest
import torch

from models.errors import OptionError
from models.networks import Necked, build_network
from tests.models.networks_by_name import EVERY_NETWORK, new_network

pytestmark = pytest.mark.usefixtures("one_thread")


@EVERY_NETWORK
@pytest.mark.parametrize("channels", [1, 3])
def test_embeddings_have_the_asked_dimension(name: str, channels: int) -> None:
    network = new_network(name, dimension=24, channels=channels).eval()
    for height, width in [(96, 96), (70, 33), (16, 16)]:
        with torch.inference_mode():
            output = network(torch.randn(1, channels, height, width))
        assert (output.shape, output.dtype) == ((1, 24), torch.float32)
        assert bool(output.isfinite().all())


@EVERY_NETWORK
@pytest.mark.parametrize("neck", [False, True])
def test_without_being_asked_a_network_says_its_dimension(name: str, neck: bool) -> None:
    network = new_network(name, neck=neck).eval()
    with torch.inference_mode():
        output = network(torch.randn(2, 3, 48, 48))
    assert output.shape == (2, network.dimension)


@EVERY_NETWORK
def test_a_picture_alone_gets_the_embedding_that_it_gets_in_a_batch(name: str) -> None:
    torch.manual_seed(0)
    network = new_network(name).train()
    pictures = torch.randn(3, 3, 48, 48)
    with torch.no_grad():
        network(pictures)  # batch normalisation learns the scale, or errors grow with the depth
    network.eval()
    with torch.inference_mode():
        together, alone = network(pictures), torch.cat([network(picture[None]) for picture in pictures])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5 * float(together.abs().max()))


@EVERY_NETWORK
@pytest.mark.parametrize("neck", [False, True])
def test_every_parameter_learns(name: str, neck: bool) -> None:
    torch.manual_seed(0)
    network = new_network(name, neck=neck)
    output = network(torch.randn(4, 3, 48, 48))
    (output * torch.randn_like(output)).sum().backward()
    idle = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not bool(parameter.grad.abs().sum() > 0))
    ]
    assert idle == []


@EVERY_NETWORK
def test_a_seed_decides_all_weights(name: str) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return new_network(name).state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@EVERY_NETWORK
def test_a_neck_gets_a_name_of_its_own_beside_the_networks(name: str) -> None:
    bare, necked = new_network(name, dimension=6), new_network(name, dimension=6, neck=True)
    assert isinstance(necked, Necked)
    neck = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert set(necked.state_dict()) == {f"backbone.{key}" for key in bare.state_dict()} | {
        f"neck.{key}" for key in neck
    }


def test_small_resnet_keeps_its_meaning() -> None:
    torch.manual_seed(0)
    network = build_network("small_resnet", dimension=5).eval()
    torch.manual_seed(1)
    with torch.inference_mode():
        output = network(torch.randn(3, 3, 40, 33))
    expected = torch.tensor([0.0469, -0.0113, -0.0196, 0.0292, -0.0571])  # of the first release
    torch.testing.assert_close(output[0], expected, rtol=0, atol=1e-4)
    weights = network.state_dict()
    assert len(weights) == 106
    assert weights["features.3.body.0.weight"].shape == (24, 24, 3, 3)
    assert weights["features.7.excitation.1.weight"].shape == (24, 192, 1, 1)
    assert weights["embedding.weight"].shape == (5, 384)


def test_unknown_names_and_parameters_are_refused() -> None:
    with pytest.raises(OptionError, match=r"no network 'vgg'; known are .*mobilefacenet, osnet_x0_25"):
        build_network("vgg")
    with pytest.raises(OptionError, match="does not take these parameters"):
        build_network("small_resnet", depth=3)


@pytest.mark.parametrize("params", [{"dimension": 0}, {"dimension": "128"}, {"channels": True}])
def test_sizes_that_are_none_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="must be a whole number from 1 on"):
        build_network("small_resnet", **params)
