"""BNNeck: a batch normalisation between what the triplet loss sees and what is compared in the end."""

from torch import Tensor, nn

__all__ = ["Necked"]


class Necked(nn.Module):
    """A network with a batch normalisation behind it.

    A triplet loss groups embeddings by distance, wherever they lie; a cross-entropy separates them by angle
    around the origin. On one vector the two work against each other. Here the triplet loss takes `features`,
    the classifier and whoever searches take `forward`. The bias stays at 0: the angles' centre is the origin.

    Args:
        backbone: maps (B, C, H, W) pictures to (B, D) embeddings.
        dimension: D.

    Source: Luo et al., Bag of Tricks and a Strong Baseline for Person Re-identification, 2019, section 3.6.
    """

    def __init__(self, backbone: nn.Module, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.backbone = backbone
        self.neck = nn.BatchNorm1d(dimension)
        self.neck.bias.requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings before the normalisation, for the triplet loss."""
        features: Tensor = self.backbone(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings after the normalisation."""
        normalised: Tensor = self.neck(self.features(x))
        return normalised
