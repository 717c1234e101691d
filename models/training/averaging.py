"""A moving average of the weights, which is usually better than the last of them."""

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """The exponential moving average of a network's weights and buffers.

    a <- d a + (1 - d) w, with d = min(decay, (1 + t) / (10 + t)) after t steps, so that the first, random
    weights are soon forgotten.

    Args:
        network: whose weights it begins with.
        decay: from 0 to 1, 1 left out.

    Source: Polyak and Juditsky 1992; the rising decay is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps, step >= 1. Whole numbers (counts) are copied."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            self._update(self.weights[name], tensor, keep)

    @staticmethod
    def _update(average: Tensor, tensor: Tensor, keep: float) -> None:
        if tensor.is_floating_point():
            average.lerp_(tensor, 1 - keep)
        else:
            average.copy_(tensor)
