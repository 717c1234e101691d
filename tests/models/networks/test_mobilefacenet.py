"""MobileFaceNet: the published size, and a global depthwise convolution at any size."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.networks.mobilefacenet import GlobalDepthwise, MobileFaceNet

pytestmark = pytest.mark.usefixtures("one_thread")


def test_parameters_and_operations_are_about_the_published_ones() -> None:
    network = MobileFaceNet().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(0.99e6, rel=0.02)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 112, 112))
    assert counter.get_total_flops() == pytest.approx(439.8e6, rel=0.01)


def test_at_its_own_size_the_pooling_is_a_depthwise_convolution() -> None:
    torch.manual_seed(0)
    pooling, x = GlobalDepthwise(6), torch.randn(2, 6, 7, 7)
    expected = F.conv2d(x, pooling.weight, groups=6).flatten(1) / 49
    torch.testing.assert_close(pooling(x), expected)


def test_at_another_size_the_weights_are_stretched() -> None:
    torch.manual_seed(0)
    pooling, x = GlobalDepthwise(2, size=2), torch.randn(3, 2, 4, 4)
    with torch.no_grad():  # left to right from 0 to 1
        pooling.weight.copy_(torch.tensor([0.0, 1.0]).expand(2, 1, 2, 2))
    across = torch.tensor([0.0, 0.25, 0.75, 1.0])
    torch.testing.assert_close(pooling(x), (x * across).mean(dim=(2, 3)))


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (14, 5)])
def test_equal_weights_are_the_mean_at_every_size(size: tuple[int, int]) -> None:
    pooling, x = GlobalDepthwise(3), torch.randn(2, 3, *size)
    with torch.no_grad():
        pooling.weight.fill_(1.0)
    torch.testing.assert_close(pooling(x), x.mean(dim=(2, 3)))
