"""A small residual network for drawn characters, which first centres and scales what is drawn."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.small_resnet import Residual

__all__ = ["CharacterNet", "frame_ink"]

_INSIDE = 48  # height and width of the framed picture
_MARGIN = 2.2  # what is framed: so many standard deviations of the ink to each side
_NO_INK = 1e-6
_USUAL, _SPREAD = 0.08, 0.25  # about the mean and standard deviation of a framed character's pixels


class CharacterNet(nn.Module):
    """A residual network of 0.93 million parameters for dark strokes on light paper.

    The ink is framed (see `frame_ink`), so that neither the place nor the size of a drawing matters. A stem
    at half the framed resolution and four stages at 1/2, 1/4, 1/8 and 1/16 follow; the last is flattened,
    because where a stroke is tells characters apart, and one linear layer gives the embedding.

    Args:
        dimension: D of the embeddings.
        channels: of the pictures; their mean is what is looked at.
    """

    def __init__(self, dimension: int = 128, *, channels: int = 1) -> None:
        super().__init__()
        self.dimension = dimension
        self.channels = channels
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            Residual(32, 32, stride=1),
            Residual(32, 48, stride=2),
            Residual(48, 96, stride=2),
            Residual(96, 96, stride=1),
            Residual(96, 160, stride=2),
        )
        self.embedding = nn.Linear(160 * (_INSIDE // 16) ** 2, dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, channels, H, W) pictures."""
        framed = frame_ink(x.mean(dim=1, keepdim=True), _INSIDE)
        embedding: Tensor = self.embedding(self.features(framed).flatten(1))
        return embedding


def frame_ink(x: Tensor, size: int) -> Tensor:
    """Return what is drawn, its centre in the middle and its spread the same for all.

    With the ink as a mass, the middle of the frame is its mean. The frame reaches 2.2 times the standard
    deviation to each side, where that of an axis is drawn half way to that of both: a tall character stays
    taller than a wide one.

    Args:
        x: (B, 1, H, W) floating point, larger is lighter: paper is what is lightest in each picture.
        size: of the frame, in pixels.

    Returns:
        (B, 1, size, size), -0.3 where there is paper, which is also beyond the picture, and up to 3.7 where
        there is ink. A picture of one colour has no ink.
    """
    lightest = x.amax(dim=(2, 3), keepdim=True)
    contrast = lightest - x.amin(dim=(2, 3), keepdim=True)
    ink = (lightest - x) / contrast.clamp(min=_NO_INK)  # (B, 1, H, W), from 0 to 1
    mean_x, spread_x = _moments(ink.sum(dim=(1, 2)))
    mean_y, spread_y = _moments(ink.sum(dim=(1, 3)))
    both = ((spread_x.square() + spread_y.square()) / 2).sqrt()
    zero = torch.zeros_like(both)
    theta = torch.stack(
        [
            torch.stack([_MARGIN * (spread_x * both).sqrt(), zero, mean_x], dim=1),
            torch.stack([zero, _MARGIN * (spread_y * both).sqrt(), mean_y], dim=1),
        ],
        dim=1,
    )  # (B, 2, 3)
    grid = F.affine_grid(theta, [x.shape[0], 1, size, size], align_corners=False)
    framed = F.grid_sample(ink, grid, padding_mode="zeros", align_corners=False)
    return (framed - _USUAL) / _SPREAD


def _moments(mass: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation (B,) of the positions, -1 to 1, of mass (B, n)."""
    count = mass.shape[1]
    positions = (torch.arange(count, device=mass.device, dtype=mass.dtype) * 2 + 1) / count - 1
    share = (mass + _NO_INK) / (mass + _NO_INK).sum(dim=1, keepdim=True)
    mean = (share * positions).sum(dim=1)
    variance = (share * (positions - mean[:, None]).square()).sum(dim=1)
    return mean, variance.clamp(min=1e-4).sqrt()
