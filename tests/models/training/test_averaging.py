"""The moving average against a plain loop."""

import pytest
import torch
from torch import nn

from models.training.averaging import Average


def test_the_average_is_that_of_a_plain_loop_and_counts_are_copied() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(network, decay=0.5)
    expected = {name: tensor.clone().double() for name, tensor in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 30):
        for tensor in network.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 3)
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor.double()
    assert average.weights.keys() == expected.keys()
    for name, tensor in average.weights.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert average.weights["1.num_batches_tracked"] == network.state_dict()["1.num_batches_tracked"]


def test_it_stands_apart_from_the_network() -> None:
    network = nn.Linear(2, 2)
    average = Average(network, decay=0.9)
    before = average.weights["weight"].clone()
    with torch.no_grad():
        network.weight.add_(1)
    assert torch.equal(average.weights["weight"], before)


def test_the_first_weights_are_soon_forgotten() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1000.0)
    average = Average(network, decay=0.999)
    nn.init.constant_(network.weight, 1.0)
    for step in range(1, 201):
        average.update(network, step)
    assert float(average.weights["weight"]) == pytest.approx(1.0, abs=0.01)
