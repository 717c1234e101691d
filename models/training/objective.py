"""What is minimised: the triplet loss of the embeddings, and the cross-entropy over the identities."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from models.losses import BatchLoss, batch_triplet_loss
from models.training.config import TrainConfig

__all__ = ["Losses", "Objective"]


@dataclass(frozen=True)
class Losses:
    """What a batch costs.

    Attributes:
        total: (), the weighted sum; differentiable.
        triplet: the triplet loss, and what it was formed from.
        parts: each loss of the sum by its name, () without a graph and before its weight.
    """

    total: Tensor
    triplet: BatchLoss
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """The losses of a batch's embeddings, with the classifier that only training has.

    The triplet loss compares the embeddings, the identity loss classifies what the neck makes of them.

    Args:
        config: weights, mining, margin and smoothing.
        neck: what stands between the embedding of the triplet loss and that of the identity loss.
        classes: how many identities there are.

    Source: Luo et al., Bag of Tricks for Person Re-identification, 2019, figure 5 (BNNeck).
    """

    def __init__(self, config: TrainConfig, neck: nn.Module, classes: int) -> None:
        super().__init__()
        self.config = config
        self.neck = neck
        self.classifier = nn.Linear(config.dimension, classes, bias=False) if config.id_weight else None

    def forward(self, embeddings: Tensor, labels: Tensor) -> Losses:
        """Return the losses of (B, D) embeddings, before the neck, with labels (B,) from 0.

        Raises:
            NonFiniteError: NaN or infinity in the embeddings.
        """
        config = self.config
        triplet = batch_triplet_loss(
            embeddings, labels, mining=config.mining, margin=config.margin, normalize=config.normalize
        )
        # A product with 1 would take a twentieth of the time of a small batch's loss.
        total = triplet.loss if config.triplet_weight == 1 else config.triplet_weight * triplet.loss
        parts = {"triplet": triplet.loss.detach()}
        after = self.neck(embeddings)  # without an identity loss too: its running statistics are learned
        if self.classifier is not None:
            identity = F.cross_entropy(self.classifier(after), labels, label_smoothing=config.label_smoothing)
            total = total + config.id_weight * identity
            parts["identity"] = identity.detach()
        return Losses(total, triplet, parts)
