"""Pooling: a map of features into one vector."""

import torch
from torch import Tensor, nn

__all__ = ["GeM"]


class GeM(nn.Module):
    """Generalised mean over the positions: (mean of x^p)^(1/p), its exponent learnt.

    p = 1 is the average; the larger p, the nearer to the maximum.

    Args:
        p: the exponent to start from, > 0.
        eps: what smaller features are raised to, > 0: a power and its logarithm need it.

    Source: Radenovic et al., Fine-tuning CNN Image Retrieval with No Human Annotation, 2018, equation 3.
    """

    def __init__(self, p: float = 3.0, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C) float32, or the input's float64, of (B, C, H, W) features."""
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # 41 cubed is beyond float16
        return x.clamp(min=self.eps).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)
