"""Networks: shapes, size on disk, and independence of the batch."""

import pytest
import torch

from models.errors import OptionError
from models.networks import NETWORKS, build_network


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize(("height", "width"), [(96, 96), (70, 33), (16, 16)])
def test_embeddings_have_the_asked_dimension(name: str, height: int, width: int) -> None:
    network = build_network(name, dimension=24).eval()
    with torch.inference_mode():
        output = network(torch.randn(2, 3, height, width))
    assert (output.shape, output.dtype) == ((2, 24), torch.float32)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_weights_fit_in_five_megabytes(name: str) -> None:
    tensors = build_network(name).state_dict().values()
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors) < 5_000_000


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_picture_alone_gets_the_embedding_that_it_gets_in_a_batch(name: str) -> None:
    network = build_network(name).eval()
    pictures = torch.randn(3, 3, 48, 48)
    with torch.inference_mode():
        together, alone = network(pictures), torch.cat([network(picture[None]) for picture in pictures])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_parameter_learns(name: str) -> None:
    network = build_network(name)
    network(torch.randn(4, 3, 48, 48)).square().sum().backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        for parameter in network.parameters()
    )


def test_unknown_names_and_parameters_are_refused() -> None:
    with pytest.raises(OptionError, match="no network 'vgg'; known are small_resnet"):
        build_network("vgg")
    with pytest.raises(OptionError, match="does not take these parameters"):
        build_network("small_resnet", depth=3)
