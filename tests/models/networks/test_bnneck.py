"""BNNeck: what is normalised, and what stays as it is."""

import torch
from torch import nn

from models.networks import Necked


def necked(dimension: int = 4) -> Necked:
    torch.manual_seed(0)
    return Necked(nn.Sequential(nn.Flatten(), nn.Linear(12, dimension)), dimension)


def test_features_are_the_backbones_and_the_output_is_theirs_normalised_over_the_batch() -> None:
    network, x = necked(), torch.randn(8, 3, 2, 2)
    features = network.features(x)
    assert torch.equal(features, network.backbone(x))
    deviation = (features.var(0, unbiased=False) + network.neck.eps).sqrt()
    torch.testing.assert_close(network(x), (features - features.mean(0)) / deviation)


def test_in_use_the_running_statistics_and_the_learnt_scale_count() -> None:
    network, x = necked().eval(), torch.randn(2, 3, 2, 2)
    mean, variance, scale = torch.randn(4), torch.rand(4) + 0.5, torch.randn(4)
    network.neck.load_state_dict(
        {"running_mean": mean, "running_var": variance, "weight": scale, "bias": torch.zeros(4)}, strict=False
    )
    expected = (network.features(x) - mean) / (variance + network.neck.eps).sqrt() * scale
    torch.testing.assert_close(network(x), expected)


def test_training_moves_the_scale_and_never_the_bias() -> None:
    network = necked()
    before = network.neck.weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(torch.randn(8, 3, 2, 2)).pow(3).sum().backward()
    optimizer.step()
    assert not network.neck.bias.requires_grad
    assert torch.equal(network.neck.bias, torch.zeros(4))
    assert not torch.equal(network.neck.weight, before)
