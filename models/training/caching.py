"""Large batches in small memory, exactly: the gradient with respect to the embeddings is kept, not the graph.

The loss of a batch depends on a picture through its embedding alone. So all pictures are encoded without a
graph, the loss is formed of all embeddings, and then each chunk is encoded again, with a graph, through which
its part of the gradient goes. Memory is that of one chunk; the time is that of one more pass forward.

Batch normalisation takes the statistics of each chunk, which is the one way in which chunks differ from the
batch; its running statistics see each chunk once.

Source: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, 2021.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Forward", "encode"]

Forward = Callable[[Tensor], Tensor]


def encode(
    network: nn.Module, forward: Forward, x: Tensor, chunk: int | None
) -> tuple[Tensor, Callable[[Tensor], None]]:
    """Return (B, D) the embeddings, without a graph, and what takes their gradient back to the weights.

    Args:
        network: what `forward` goes through.
        forward: from (b, C, H, W) to (b, D).
        x: (B, C, H, W).
        chunk: how many pictures at once, at most, from 2 on; None is all. One that would be left alone is
            encoded with two others: batch normalisation has no statistics of one.
    """
    pieces = x.tensor_split(max(1, min(-(-len(x) // chunk), len(x) // 2))) if chunk else (x,)
    if len(pieces) == 1:
        embeddings = forward(x)
        return embeddings.detach(), embeddings.backward
    states: list[tuple[Tensor, ...]] = []
    encoded: list[Tensor] = []
    with torch.no_grad():
        for piece in pieces:
            states.append(_random_state(x.device))
            encoded.append(forward(piece))

    def backward(gradient: Tensor) -> None:
        after = _random_state(x.device)
        with _running_statistics_kept(network):
            for piece, state, part in zip(pieces, states, gradient.tensor_split(len(pieces)), strict=True):
                _set_random_state(state, x.device)
                forward(piece).backward(part)  # type: ignore[no-untyped-call]  # torch has not typed it
        _set_random_state(after, x.device)

    return torch.cat(encoded), backward


@contextmanager
def _running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let batch normalisation go on by the statistics of its input, without taking note of them."""
    noting = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
    noting = [module for module in noting if module.track_running_stats]
    for module in noting:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in noting:
            module.track_running_stats = True


def _random_state(device: torch.device) -> tuple[Tensor, ...]:
    """Return the states that dropout and the like draw from."""
    cuda = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
    return torch.get_rng_state(), *cuda


def _set_random_state(state: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
