"""The triplet losses' public face: of given triplets, of labelled batches, and as modules for training."""

from models.batch_losses import BatchLoss, MinedTriplet, batch_triplet_loss
from models.explicit_losses import (
    Distance,
    ExplicitLoss,
    TripletOptions,
    explicit_triplet_loss,
    triplet_margin_loss,
)
from models.loss_modules import (
    BatchAllTripletLoss,
    BatchHardTripletLoss,
    BatchSemiHardTripletLoss,
    TripletMarginLoss,
)

__all__ = [
    "BatchAllTripletLoss",
    "BatchHardTripletLoss",
    "BatchLoss",
    "BatchSemiHardTripletLoss",
    "Distance",
    "ExplicitLoss",
    "MinedTriplet",
    "TripletMarginLoss",
    "TripletOptions",
    "batch_triplet_loss",
    "explicit_triplet_loss",
    "triplet_margin_loss",
]
