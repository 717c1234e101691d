"""Encoding a batch in chunks gives the loss and the gradient of encoding it at once."""

from typing import Literal

import pytest
import torch
from torch import nn

from models.batch_losses import MININGS
from models.training import TrainConfig
from models.training.caching import encode
from models.training.gradients import backpropagate
from models.training.parts import Parts
from models.training.ranks import ALONE
from tests.models.training.small import (
    EXACT,
    LOSSES,
    assert_same_gradients,
    batch,
    exact_parts,
    gradients,
    options,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_gradients(config: TrainConfig, parts: Parts) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss and gradient by autograd alone, through the network, the neck and the classifier."""
    given = batch(config)
    loss = parts.objective(parts.embed(given.x), given.labels).total
    loss.backward()
    return loss, gradients(parts)


@pytest.mark.parametrize("losses", LOSSES)
@pytest.mark.parametrize("margin", [0.2, "soft"])
@pytest.mark.parametrize("mining", MININGS)
def test_chunks_give_the_gradient_of_the_whole_batch(
    mining: str, margin: float | Literal["soft"], losses: str
) -> None:
    config = options(mining=mining, margin=margin, **LOSSES[losses])
    parts = exact_parts(config)
    expected_loss, expected = plain_gradients(config, parts)
    for chunk in (None, 5, 2, 100):
        parts.optimizer.zero_grad()
        found_losses, _ = backpropagate(parts, batch(config), chunk, ALONE)
        torch.testing.assert_close(found_losses.total, expected_loss, rtol=EXACT, atol=0)
        assert_same_gradients(gradients(parts), expected)


def test_dropout_draws_the_same_in_both_passes_of_a_chunk() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(6, 3, bias=False)
    network = nn.Sequential(nn.Dropout(0.5), linear)
    x = torch.randn(8, 6)
    embeddings, backward = encode(network, network, x, 4)
    torch.rand(5)  # whatever the loss draws
    backward(torch.ones(8, 3))
    weight = linear.weight
    assert weight.grad is not None
    # With y = W m(x), the gradient of sum(y) is the sum of the masked inputs, and W times it is sum(y).
    torch.testing.assert_close(embeddings.sum(dim=0), weight.detach() @ weight.grad[0])


def test_random_numbers_after_a_step_do_not_repeat_those_within() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))
    _, backward = encode(network, network, torch.randn(8, 6), 4)
    state = torch.get_rng_state()
    backward(torch.ones(8, 3))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("count", "chunk", "sizes"), [(5, 2, [3, 2]), (7, 3, [3, 2, 2]), (3, 2, [3]), (2, 9, [2])]
)
def test_no_picture_is_encoded_alone(count: int, chunk: int, sizes: list[int]) -> None:
    network, seen = nn.BatchNorm1d(3), []

    def forward(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return network(x)  # type: ignore[no-any-return]

    embeddings, backward = encode(network, forward, torch.randn(count, 3), chunk)
    assert seen == sizes
    backward(torch.ones_like(embeddings))
    assert len(embeddings) == count


def test_running_statistics_see_each_chunk_once() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    normalised = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    _, backward = encode(normalised, normalised, x, 3)
    backward(torch.ones(6, 2))
    expected = nn.BatchNorm1d(3)
    for piece in torch.split(x, 3):
        expected(piece)
    for name, buffer in expected.named_buffers():
        assert torch.equal(dict(normalised[0].named_buffers())[name], buffer), name
